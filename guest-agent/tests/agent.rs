// SPDX-License-Identifier: Apache-2.0
//! The binary as a runtime and an init meet it, on a host that does not let it enforce. What it
//! enforces where it can is tested in a VM.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::symlink, net::UnixDatagram, process::ExitStatusExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

const AGENT: &str = env!("CARGO_BIN_EXE_kadapter-agent");
const SIGKILL: i32 = 9;

/// Ended with the test, whatever came of it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent whose pins are in no bpffs: it never loads a program. Returns when it has said so.
fn refusing_agent(directory: &Path) -> Process {
    refusing(directory, &["--insecure-no-tls"], "bpffs")
}

/// An agent that refuses with a reason in which this occurs.
fn refusing(directory: &Path, arguments: &[&str], why: &str) -> Process {
    let mut agent = Command::new(AGENT)
        .args(arguments)
        .env("NOTIFY_SOCKET", directory.join("notify.sock"))
        .arg("--pins")
        .arg(directory.join("pins"))
        .arg("--lifecycle-socket")
        .arg(directory.join("run/agent.sock"))
        .arg(format!("--listen=unix:{}", directory.join("guest.sock").display()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(agent.stderr.take().unwrap());
    let agent = Process(agent);
    let mut lines = log.lines().map_while(Result::ok);
    let refusal = lines.find(|line| line.contains("refusing every container"));
    let refusal = refusal.expect("it never said so");
    assert!(refusal.contains(why), "{refusal}");
    // Somebody must read on, or the agent would stop at a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    agent
}

fn bundle(directory: &Path) {
    fs::create_dir(directory.join("rootfs")).unwrap();
    fs::write(directory.join("config.json"), r#"{"root":{"path":"rootfs"}}"#).unwrap();
}

/// Runs the hook as a kata-agent does: by its own name, with the type as the only argument.
fn hook(directory: &Path, kind: &str, pid: u32) -> (ExitStatus, String) {
    let name = directory.join("kadapter-hook");
    if !name.exists() {
        symlink(AGENT, &name).unwrap();
    }
    let mut hook = Command::new(name)
        .arg(kind)
        .env("KADAPTER_LIFECYCLE_SOCKET", directory.join("run/agent.sock"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bundle = directory.display();
    let state = format!(r#"{{"ociVersion":"1.0.2","id":"c1","pid":{pid},"bundle":"{bundle}"}}"#);
    hook.stdin.take().unwrap().write_all(state.as_bytes()).unwrap();
    let output = hook.wait_with_output().unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn where_nothing_is_enforced_a_container_is_killed_and_told_why() {
    let directory = tempfile::tempdir().unwrap();
    bundle(directory.path());
    let _agent = refusing_agent(directory.path());
    let mut container = Process(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap());
    let (status, said) = hook(directory.path(), "prestart", container.0.id());
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("the container is refused"), "{said}");
    assert_eq!(container.0.wait().unwrap().signal(), Some(SIGKILL));
}

#[test]
fn an_agent_without_a_relays_key_refuses_with_the_remedy_and_serves_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let _agent = refusing(directory.path(), &[], "boot the guest with `kadapter.relay_key=`");
    assert!(!directory.path().join("guest.sock").exists());
    assert!(directory.path().join("run/agent.sock").exists());
}

#[test]
fn an_agent_that_cannot_keep_its_key_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let pin = format!("--relay-key={}", "a".repeat(64));
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let key = format!("--guest-key={}/guest.key", file.display());
    let _agent = refusing(directory.path(), &[&pin, &key], "--guest-key");
}

/// What `kadapter-agent wait` and the like say, and how they end.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_init_learns_that_the_agent_refuses_and_never_that_it_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let init = UnixDatagram::bind(directory.path().join("notify.sock")).unwrap();
    init.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _agent = refusing_agent(directory.path());
    let mut told = String::new();
    while !told.contains("STATUS=refusing every container") {
        let mut text = [0; 4096];
        let length = init.recv(&mut text).unwrap();
        told += &String::from_utf8_lossy(&text[..length]);
    }
    assert!(told.contains("bpffs") && !told.contains("READY"), "{told}");
    let socket = directory.path().join("run/agent.sock");
    let wait = |socket: &Path, timeout: &str| {
        let mut command = Command::new(AGENT);
        ended(command.arg("wait").arg("--socket").arg(socket).args(["--timeout", timeout]))
    };
    let (status, said) = wait(&socket, "30s");
    assert!(status == Some(1) && said.contains("the agent refuses: "), "{status:?}: {said}");
    let (status, said) = wait(&directory.path().join("none.sock"), "100ms");
    assert!(status == Some(1) && said.contains("not ready after 100ms"), "{status:?}: {said}");
}

#[test]
fn hooks_that_a_kata_agent_passes_over_are_told() {
    let directory = tempfile::tempdir().unwrap();
    for kind in ["prestart", "poststart", "poststop"] {
        fs::create_dir(directory.path().join(kind)).unwrap();
        fs::copy(AGENT, directory.path().join(kind).join("kadapter-hook")).unwrap();
    }
    let check = || ended(Command::new(AGENT).arg("check").arg(directory.path()));
    assert_eq!(check(), (Some(0), String::new()));
    let hook = directory.path().join("prestart/kadapter-hook");
    fs::remove_file(&hook).unwrap();
    symlink(AGENT, &hook).unwrap();
    let (status, said) = check();
    assert_eq!(status, Some(1));
    assert!(said.contains("is a symbolic link: make it a hard link or a copy"), "{said}");
}

#[test]
fn sigterm_ends_the_agent_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut agent = refusing_agent(directory.path());
    let pid = Pid::from_raw(i32::try_from(agent.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(agent.0.wait().unwrap().code(), Some(0));
}

#[test]
fn the_child_of_the_self_test_says_what_the_kernel_answered() {
    let mut child = Command::new(AGENT)
        .arg("self-test")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0 0\n0 0\n");
}

#[test]
fn completions_and_version_need_no_guest() {
    for args in [["completions", "bash"].as_slice(), &["--version"]] {
        let output = Command::new(AGENT).args(args).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("kadapter-agent"));
    }
}
