// SPDX-License-Identifier: Apache-2.0
//! The hook kills a real process whenever it is refused or cannot know.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::PathBuf,
    thread::{self, JoinHandle},
};

use tempfile::TempDir;

use super::*;
use crate::{
    fixtures::Waiting,
    lifecycle::{Facts, Reply},
};

const SIGKILL: i32 = 9;

struct Rig {
    directory: TempDir,
    process: Waiting,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("rootfs")).unwrap();
        let config = br#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{}}"#;
        fs::write(directory.path().join("config.json"), config).unwrap();
        Self { directory, process: Waiting::spawn() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    fn args(&self, kind: HookKind) -> HookArgs {
        HookArgs { kind, socket: self.socket(), deadline: Duration::from_secs(5) }
    }

    fn state(&self) -> OciState {
        let text = serde_json::json!({
            "ociVersion": "1.0.2",
            "id": "c1",
            "status": "created",
            "pid": self.process.pid(),
            "bundle": self.directory.path(),
            "annotations": {
                "io.kubernetes.cri.container-name": "web",
                "io.kubernetes.cri.sandbox-id": "s1",
                "example.com/other": "x".repeat(100_000),
            },
        });
        OciState::read(text.to_string().as_bytes()).unwrap()
    }

    /// An agent that answers one request with these bytes; yields what it was asked.
    fn agent(&self, answer: Vec<u8>) -> JoinHandle<Facts> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut prefix = [0; 4];
            stream.read_exact(&mut prefix).unwrap();
            let mut body = vec![0; lifecycle::body_length(prefix).unwrap()];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(&answer).unwrap();
            serde_json::from_slice::<Request>(&body).unwrap().container
        })
    }
}

fn answer(answer: Answer) -> Vec<u8> {
    lifecycle::encode(&Reply { version: VERSION, answer }).unwrap()
}

fn proceed() -> Vec<u8> {
    answer(Answer::Proceed { generation: 1, digest: String::new() })
}

#[test]
fn a_container_that_may_run_is_left_alone() {
    let mut rig = Rig::new();
    let agent = rig.agent(proceed());
    act(&rig.args(HookKind::Prestart), &rig.state()).unwrap();
    assert!(rig.process.is_alive());
    let facts = agent.join().unwrap();
    let rootfs = fs::canonicalize(rig.directory.path().join("rootfs")).unwrap();
    assert_eq!(facts.rootfs.as_deref(), rootfs.to_str());
    assert_eq!((facts.pid, facts.sandbox_id.as_str()), (Some(rig.process.pid()), "s1"));
    assert!(facts.mnt_ns.is_some() && facts.pid_ns.is_some() && facts.cgroup.is_some());
    assert_eq!(facts.annotations.len(), 2, "only what the agent reads is sent");
}

#[test]
fn a_refused_container_is_killed() {
    let mut rig = Rig::new();
    let agent = rig.agent(answer(Answer::Refuse { reason: "no rule set".into() }));
    let error = act(&rig.args(HookKind::Prestart), &rig.state()).unwrap_err();
    assert!(error.to_string().contains("no rule set"));
    assert_eq!(rig.process.signal(), Some(SIGKILL));
    agent.join().unwrap();
}

#[test]
fn without_an_agent_the_container_is_killed() {
    for kind in [HookKind::Prestart, HookKind::Poststart] {
        let mut rig = Rig::new();
        let error = act(&rig.args(kind), &rig.state()).unwrap_err();
        assert!(matches!(error, HookError::Agent { .. }), "{error}");
        assert_eq!(rig.process.signal(), Some(SIGKILL));
    }
}

#[test]
fn a_bad_answer_kills() {
    for bytes in [b"\0\0\0\x02{}".to_vec(), b"\xff\xff\xff\xff".to_vec(), Vec::new()] {
        let mut rig = Rig::new();
        let agent = rig.agent(bytes);
        act(&rig.args(HookKind::Prestart), &rig.state()).unwrap_err();
        assert_eq!(rig.process.signal(), Some(SIGKILL));
        agent.join().unwrap();
    }
}

#[test]
fn an_agent_that_never_answers_is_not_waited_for() {
    let mut rig = Rig::new();
    let _listener = UnixListener::bind(rig.socket()).unwrap();
    let args = HookArgs { deadline: Duration::from_millis(50), ..rig.args(HookKind::Prestart) };
    act(&args, &rig.state()).unwrap_err();
    assert_eq!(rig.process.signal(), Some(SIGKILL));
}

#[test]
fn an_agent_that_accepts_nobody_is_not_waited_for() {
    let mut rig = Rig::new();
    let listener = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    net::bind(&listener, &SocketAddrUnix::new(rig.socket()).unwrap()).unwrap();
    net::listen(&listener, 0).unwrap();
    // The kernel takes one more than it was told; from then on it waits.
    let _queued = UnixStream::connect(rig.socket()).unwrap();
    let args = HookArgs { deadline: Duration::from_millis(50), ..rig.args(HookKind::Prestart) };
    let error = act(&args, &rig.state()).unwrap_err();
    assert!(matches!(error, HookError::Agent { .. }), "{error}");
    assert_eq!(rig.process.signal(), Some(SIGKILL));
}

#[test]
fn a_bundle_that_cannot_be_read_kills() {
    let mut rig = Rig::new();
    fs::remove_file(rig.directory.path().join("config.json")).unwrap();
    act(&rig.args(HookKind::Prestart), &rig.state()).unwrap_err();
    assert_eq!(rig.process.signal(), Some(SIGKILL));
}

#[test]
fn after_the_end_nothing_is_killed() {
    let mut rig = Rig::new();
    act(&rig.args(HookKind::Poststop), &rig.state()).unwrap_err();
    assert!(rig.process.is_alive());
    let agent = rig.agent(proceed());
    act(&rig.args(HookKind::Poststop), &rig.state()).unwrap();
    assert_eq!(agent.join().unwrap().id, "c1");
}

#[test]
fn a_state_without_a_process_is_an_error() {
    let state = OciState::read(br#"{"id":"c1"}"#.as_slice()).unwrap();
    assert!(matches!(state.pid(), Err(InvalidState::NoPid)));
    assert!(OciState::read(b"nonsense".as_slice()).is_err());
}
