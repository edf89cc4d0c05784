// SPDX-License-Identifier: Apache-2.0
//! One node with one guest, as in the field: the real relay follows a policy directory and speaks
//! over vsock to the real agent in a VM, where runc starts containers through the agent's gate.
//!
//! In: a [`NodeConfig`], policies and pods as YAML, programs to run in containers. Out: how they
//! ended, the events of the relay, its log. All of it ends when the [`Node`] is dropped. What it
//! does not have of a node: Kubernetes, a CRI, and Kata's shim and agent.

mod config;
mod lines;
mod reboot;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

pub use config::NodeConfig;
pub use lines::Lines;
use reboot::ADDRESS;

use crate::{
    patience::patient,
    rootfs::{Container, Hook, HookPoint, Rootfs},
    vm::{
        Spawn, Vm, VmConfig, host_program,
        process::{Pause, TiedProcess, tied},
    },
};

/// Where the agent lies in the guest; the hook is the same program.
pub const AGENT: &str = "/usr/bin/kadapter-agent";

/// Port of the agent.
const AGENT_PORT: u32 = 1034;

/// The relay's key, in the node's directory.
const KEY: &str = "relay.key";

/// For anything that a machine does in seconds if it does nothing else; waits use [`patient`] of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running node.
pub struct Node {
    /// The guest.
    pub vm: Vm,
    relay: Mutex<Relay>,
    relay_args: Vec<String>,
    directory: TempDir,
    /// What guests know the relay's key by.
    pin: String,
}

/// The relay's process and what it says.
struct Relay {
    process: TiedProcess,
    events: Lines,
    log: Lines,
}

// === impl Node ===

impl Node {
    /// Boots the guest, starts its agent and the relay, and waits until they know each other.
    ///
    /// # Errors
    /// If one of them does not start in time.
    pub fn start(config: &NodeConfig) -> Result<Self> {
        let node = Self::without_session(config)?;
        node.relay_log().wait("the session", |line| line.contains("\"connected\""))?;
        Ok(node)
    }

    /// As [`Node::start`], for agents that refuse: waits only until the agent has said so.
    ///
    /// # Errors
    /// If one of them does not start.
    pub fn without_session(config: &NodeConfig) -> Result<Self> {
        let directory = TempDir::with_prefix("kadapter-node-").context("make a directory")?;
        fs::create_dir(directory.path().join("policies")).context("make the policy directory")?;
        let pin = keygen(&directory.path().join(KEY))?;
        let vm = boot(config, &pin)?;
        start_agent(&vm, &config.agent_args)?;
        let relay_args = config.relay_args.clone();
        reboot::lead_to(&vm, directory.path())?;
        let relay =
            Relay::start(&vm, directory.path(), (&directory.path().join(KEY), &relay_args))?;
        Ok(Self { vm, relay: Mutex::new(relay), relay_args, directory, pin })
    }

    /// Directory that the relay follows.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.directory.path().join("policies")
    }

    /// Socket of the relay's API.
    #[must_use]
    pub fn api(&self) -> PathBuf {
        self.directory.path().join("relay.sock")
    }

    /// Writes a file of the policy directory as editors do: beside it, then renamed.
    ///
    /// # Errors
    /// If the host's file system refuses.
    pub fn write(&self, file: &str, yaml: &str) -> Result<()> {
        let (hidden, path) =
            (self.policies().join(format!(".{file}~")), self.policies().join(file));
        fs::write(&hidden, yaml).with_context(|| format!("write {}", hidden.display()))?;
        fs::rename(&hidden, &path).with_context(|| format!("rename to {}", path.display()))
    }

    /// Removes a file of the policy directory.
    ///
    /// # Errors
    /// If it is not there.
    pub fn remove(&self, file: &str) -> Result<()> {
        fs::remove_file(self.policies().join(file)).with_context(|| format!("remove {file}"))
    }

    /// Declares a pod of namespace `shop` with one container `main` and a label `app`.
    ///
    /// # Errors
    /// If the host's file system refuses.
    pub fn pod(&self, pod: &str, app: &str) -> Result<()> {
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {pod}\n  namespace: shop\n  \
             uid: {pod}-uid\n  labels:\n    app: {app}\nspec:\n  runtimeClassName: kata-kadapter\n  \
             containers:\n  - name: main\n"
        );
        self.write(&format!("pod-{pod}.yaml"), &yaml)
    }

    /// The container `main` of a pod of namespace `shop`, started through the gate.
    #[must_use]
    pub fn container(pod: &str, rootfs: Rootfs) -> Container {
        let annotations = [
            ("container-type", "container"),
            ("container-name", "main"),
            ("sandbox-name", pod),
            ("sandbox-namespace", "shop"),
            ("sandbox-uid", &format!("{pod}-uid")),
        ];
        let hook = |kind| Hook::new(AGENT, &["kadapter-agent", "hook", kind]);
        let container = Container::new(pod, rootfs)
            .hook(HookPoint::Prestart, hook("prestart"))
            .hook(HookPoint::Poststop, hook("poststop"));
        annotations.into_iter().fold(container, |container, (key, value)| {
            container.annotation(&format!("io.kubernetes.cri.{key}"), value)
        })
    }

    /// Events so far and to come.
    #[must_use]
    pub fn events(&self) -> Lines {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner).events.clone()
    }

    /// Log of the relay, JSON lines.
    #[must_use]
    pub fn relay_log(&self) -> Lines {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner).log.clone()
    }

    /// The first event that is accepted, now or within a minute.
    ///
    /// # Errors
    /// If none comes; the error shows those that came.
    pub fn event(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        let parse = |line: &str| serde_json::from_str::<Value>(line).ok();
        let line =
            self.events().wait(what, |line| parse(line).is_some_and(|event| accept(&event)))?;
        serde_json::from_str(&line).context("an event is no JSON")
    }

    /// What the agent's status said of its posture and why, when the relay asked, once it was settled.
    ///
    /// # Errors
    /// If it does not in a minute.
    pub fn posture(&self) -> Result<(String, String)> {
        let read = |line: &str| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let state = entry["state"].as_str()?.to_owned();
            let is_settled = ["ENFORCING", "DEGRADED", "REFUSING"]
                .iter()
                .any(|word| state.strip_prefix("POSTURE_STATE_") == Some(word));
            let reason = entry["reason"].as_str().unwrap_or_default().to_owned();
            is_settled.then_some((state, reason))
        };
        let line = self.relay_log().wait("the agent's status", |line| read(line).is_some())?;
        read(&line).context("the agent's status")
    }

    /// Waits until the relay has seen the guest take a rule set of this generation or a later one.
    ///
    /// # Errors
    /// If it does not in a minute.
    pub fn applied(&self, pod: &str, generation: u64) -> Result<()> {
        let target = format!("shop/{pod}/main");
        self.relay_log().wait(&format!("generation {generation} of {target}"), |line| {
            let Ok(entry) = serde_json::from_str::<Value>(line) else { return false };
            let got = entry["generation"].as_str().and_then(|text| text.parse::<u64>().ok());
            entry["message"] == "applied"
                && entry["container"] == target.as_str()
                && got.is_some_and(|got| got >= generation)
        })?;
        Ok(())
    }

    /// The relay's key, whose pin the guest has.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.path().join(KEY)
    }

    /// Stops the relay's process until what is returned is dropped: it reads nothing.
    ///
    /// # Errors
    /// If it is gone.
    pub fn pause_relay(&self) -> Result<Pause> {
        let pid = self.relay.lock().unwrap_or_else(PoisonError::into_inner).process.child().id();
        Pause::of(pid)
    }

    /// Kills the relay: the guest is without one.
    pub fn kill_relay(&self) {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner).process.kill();
    }

    /// Kills the relay and starts another one on the same directory, with this key.
    ///
    /// # Errors
    /// If it does not start.
    pub fn replace_relay(&self, key: &Path) -> Result<()> {
        let mut relay = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
        relay.process.kill();
        *relay = Relay::start(&self.vm, self.directory.path(), (key, &self.relay_args))?;
        Ok(())
    }

    /// Kills the relay and starts another one on the same directory.
    ///
    /// # Errors
    /// If the new one does not find the guest.
    pub fn restart_relay(&self) -> Result<()> {
        self.replace_relay(&self.key())?;
        self.relay_log().wait("the session", |line| line.contains("\"connected\""))?;
        Ok(())
    }
}

// === impl Relay ===

impl Relay {
    fn start(vm: &Vm, directory: &Path, (key, args): (&Path, &[String])) -> Result<Self> {
        let mut command = tied(host_program("host-relay", "kadapter-relay")?);
        command
            .arg("--policy-dir")
            .arg(directory.join("policies"))
            .arg("--sandbox")
            .arg(format!("hvsock://{}:{AGENT_PORT}", directory.join(ADDRESS).display()))
            .arg("--key")
            .arg(key)
            .arg("--api")
            .arg(format!("unix://{}", directory.join("relay.sock").display()))
            .args(["--events", "-", "--log", "info,host_relay=debug", "--log-format", "json"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let process = TiedProcess::start(command)?;
        let (events, log) = {
            let mut child = process.child();
            let events = child.stdout.take().context("the relay has no output")?;
            (events, child.stderr.take().context("the relay has no log")?)
        };
        let log = Lines::follow(log, &vm.logs().join("relay.log"))?;
        let events = Lines::follow(events, &vm.logs().join("events.jsonl"))?;
        Ok(Self { process, events, log })
    }
}

/// Repeats until it is true, or a minute has passed, more on a busy machine.
///
/// # Errors
/// If the check fails, or it never is.
pub fn eventually(what: &str, mut check: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + patient(PATIENCE);
    while !check()? {
        ensure!(Instant::now() < deadline, "never: {what}");
    }
    Ok(())
}

/// Makes a key for the relay, as an operator does, and gives what guests know it by.
///
/// # Errors
/// If the file exists or cannot be written.
pub fn keygen(path: &Path) -> Result<String> {
    let mut keygen = Command::new(host_program("host-relay", "kadapter-relay")?);
    let output = keygen.arg("keygen").arg(path).output().context("run keygen")?;
    ensure!(output.status.success(), "keygen: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout).context("the pin")?.trim().to_owned())
}

fn boot(config: &NodeConfig, pin: &str) -> Result<Vm> {
    let mut cmdline = config.cmdline.clone();
    cmdline.push(format!("kadapter.relay_key={pin}"));
    Vm::boot(&VmConfig {
        kernel: config.kernel,
        cmdline,
        files: config.files()?,
        disks: config.disks()?,
        share: config.share()?,
        memory_mib: config.memory_mib,
        ..VmConfig::new(&config.name)
    })
}

fn start_agent(vm: &Vm, args: &[String]) -> Result<()> {
    let mut argv = vec![AGENT.to_owned(), "run".to_owned()];
    argv.extend(args.iter().cloned());
    vm.spawn(Spawn { argv, log: "/var/log/agent.log".into(), ..Spawn::default() })?;
    let deadline = Instant::now() + patient(PATIENCE);
    let line = vm.console().wait_for_any(&[" enforcing", "refusing every container"], deadline);
    line.context("the agent says neither that it enforces nor that it refuses")?;
    Ok(())
}
