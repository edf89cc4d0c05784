// SPDX-License-Identifier: Apache-2.0
//! A guest to measure in, and a relay that speaks with it.
//!
//! Unlike [`crate::node`], the guest first runs without an agent, so that a base is measured in the
//! same boot; its clock may count instructions; and the relay is a release build, as it is shipped.
//! In: operations for `guest-bench`, policies. Out: samples, the relay's log.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use guest_init::samples::Samples;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    node::{AGENT, Node, PATIENCE, keygen},
    patience::{patient, poll},
    rootfs::{Container, Rootfs, Running, debian_disks, debian_share},
    vm::{
        Exec, GuestFile, KernelChoice, Output, Spawn, Vm, VmConfig, host_program,
        missing_for_share,
        process::{TiedProcess, tied},
        release_program, static_program,
    },
};

use super::policies::APP;

/// The measuring program, in the guest and in each root that is measured in.
pub(super) const BENCH: &str = "/bin/guest-bench";

/// A root in the guest itself, on a tmpfs as a container's.
const OUTSIDE: &str = "/bench";

/// The relay's key, in its directory.
const KEY: &str = "relay.key";

/// Files that are opened once each, for each measurement of first opens.
const FRESH_FILES: u32 = 64;

/// A measurement takes some seconds; a busy host may take ten times as long.
const MEASURE_LIMIT_MS: u64 = 120_000;

/// What a guest's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// One nanosecond for each instruction; while the guest waits for the host, the host's time:
    /// with a clock that jumps (`sleep=off`) each such wait would end with all deadlines passed.
    Instructions,
    /// The host's time; two processors.
    Host,
}

/// A guest whose agent is started later.
pub(super) struct Guest {
    pub(super) vm: Vm,
    /// Of the relay: its key, its policies, its socket.
    directory: TempDir,
}

/// The relay of a guest.
pub(super) struct Relay {
    process: TiedProcess,
    log: PathBuf,
    policies: PathBuf,
}

/// Builds what guests and relays are made of, which is no part of any figure.
pub(super) fn build() -> Result<()> {
    static_program("guest-agent", "kadapter-agent")?;
    static_program("guest-init", "guest-bench")?;
    static_program("guest-init", "guest-init")?;
    host_program("host-relay", "kadapter-relay")?;
    release_program("host-relay", "kadapter-relay")?;
    debian_disks()?;
    Ok(())
}

// === impl Guest ===

impl Guest {
    /// Boots a guest that has the programs, but runs none of them.
    pub(super) fn boot(clock: Clock, kernel: KernelChoice) -> Result<Self> {
        let directory = TempDir::with_prefix("kadapter-bench-").context("make a directory")?;
        let pin = keygen(&directory.path().join(KEY))?;
        let mut config = VmConfig::new("bench");
        config.kernel = kernel;
        config.memory_mib = 1024;
        config.cmdline = CMDLINE.map(str::to_owned).into();
        config.cmdline.push(format!("kadapter.relay_key={pin}"));
        config.files = vec![
            GuestFile::program(AGENT, static_program("guest-agent", "kadapter-agent")?),
            GuestFile::program(BENCH, static_program("guest-init", "guest-bench")?),
        ];
        config.disks = debian_disks()?;
        config.share = missing_for_share().is_none().then(debian_share).transpose()?;
        if clock == Clock::Instructions {
            config.count_instructions = true;
            config.qemu_args = ["-icount", "sleep=on"].map(str::to_owned).into();
        }
        let vm = Vm::boot(&config)?;
        vm.sh(&format!(
            "mkdir {OUTSIDE} && mount -t tmpfs bench {OUTSIDE} && mkdir {OUTSIDE}/bin"
        ))?;
        vm.sh(&furnish(OUTSIDE))?;
        Ok(Self { vm, directory })
    }

    /// Starts the agent, waits until it enforces, and returns its pid.
    pub(super) fn start_agent(&self) -> Result<i32> {
        let argv = [AGENT, "run"].map(str::to_owned).into();
        let log = "/var/log/agent.log".to_owned();
        let pid = self.vm.spawn(Spawn { argv, log, ..Spawn::default() })?;
        let marks = [" enforcing", "refusing every container"];
        let line = self.vm.console().wait_for_any(&marks, Instant::now() + patient(PATIENCE));
        let line = line.context("the agent does not say that it enforces")?;
        ensure!(line.contains(marks[0]), "{line}");
        Ok(pid)
    }

    /// A container as it is without an agent.
    pub(super) fn plain(&self, name: &str, rootfs: Rootfs) -> Result<Running<'_>> {
        self.run(Container::new(name, rootfs))
    }

    /// A container that the agent knows.
    pub(super) fn gated(&self, name: &str, rootfs: Rootfs) -> Result<Running<'_>> {
        self.run(Node::container(name, rootfs))
    }

    fn run(&self, container: Container) -> Result<Running<'_>> {
        let bundle = container.prepare(&self.vm)?;
        self.vm.sh(&furnish(&bundle.root()))?;
        let output = bundle.run()?;
        ensure!(output.success(), "a container: {}: {}", output.end, output.stdout.text());
        bundle.running()
    }

    /// Measures in the guest itself, in no container.
    pub(super) fn measure_outside(&self, operations: &[String]) -> Result<Vec<Samples>> {
        let argv = ["chroot", OUTSIDE, BENCH].map(str::to_owned);
        let argv = argv.iter().chain(operations).cloned().collect();
        read(&self.vm.run(Exec { argv, timeout_ms: MEASURE_LIMIT_MS, ..Exec::default() })?)
    }
}

/// Measures in a container.
pub(super) fn measure_inside(
    container: &Running<'_>,
    operations: &[String],
) -> Result<Vec<Samples>> {
    let argv = [BENCH.to_owned()].iter().chain(operations).cloned().collect();
    read(&container.run(Exec { argv, timeout_ms: MEASURE_LIMIT_MS, ..Exec::default() })?)
}

fn read(output: &Output) -> Result<Vec<Samples>> {
    let said = output.stderr.text();
    ensure!(output.success(), "guest-bench: {}: {said}", output.end);
    serde_json::from_str(&output.stdout.text()).context("what guest-bench prints")
}

/// Nothing in it depends on chance: neither addresses, nor what the processor needs to be guarded
/// against.
const CMDLINE: [&str; 3] = ["mitigations=off", "nokaslr", "norandmaps"];

/// Names of like trees, the first of them in each root: another name has other hashes, and a name
/// that shares its bucket of the kernel's name cache with others costs some instructions more.
pub(super) const TREES: usize = 9;

/// File in one of the trees, so many names deep.
pub(super) fn file(depth: Depth, tree: usize) -> String {
    format!("{}/file", directory(depth, tree))
}

/// Directory in the first tree whose files nobody has opened in a container, for one measurement.
pub(super) fn fresh(depth: Depth, which: usize) -> String {
    format!("{}/fresh{which}", directory(depth, 0).rsplit_once('/').expect("a path").0)
}

/// How many names a path has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// As /etc/ssl/openssl.cnf.
    Three,
    /// As files of packages of interpreters.
    Ten,
}

/// Where the files of a depth lie.
fn directory(depth: Depth, tree: usize) -> String {
    let names = match depth {
        Depth::Three => 1,
        Depth::Ten => 8,
    };
    (0..names).fold(format!("/t{tree}"), |path, name| format!("{path}/n{tree}{name}"))
}

/// Measurements that need files of their own.
const FRESH_SETS: usize = 4;

/// Script that makes the files below a root, from outside of any container.
fn furnish(root: &str) -> String {
    let mut script = format!("cp {BENCH} {root}/bin/\n");
    for depth in [Depth::Three, Depth::Ten] {
        for tree in 0..TREES {
            let _ = writeln!(script, "mkdir -p {root}{}", directory(depth, tree));
            let _ = writeln!(script, "echo text > {root}{}", file(depth, tree));
        }
        for which in 0..FRESH_SETS {
            let _ = writeln!(script, "mkdir -p {root}{0} && cd {root}{0}", fresh(depth, which));
            let _ = writeln!(script, "for i in $(seq {FRESH_FILES}); do : > $i; done");
        }
    }
    script
}

// === impl Relay ===

impl Relay {
    /// Starts a relay for the guest, and waits until they know each other.
    pub(super) fn start(guest: &Guest) -> Result<Self> {
        let Guest { vm, directory } = guest;
        let directory = directory.path();
        let policies = directory.join("policies");
        fs::create_dir(&policies).context("make the policy directory")?;
        let log = vm.logs().join("relay.log");
        let mut command = tied(release_program("host-relay", "kadapter-relay")?);
        command
            .arg("--policy-dir")
            .arg(&policies)
            .arg("--sandbox")
            .arg(format!("hvsock://{}", vm.hvsock().display()))
            .arg("--key")
            .arg(directory.join(KEY))
            .arg("--api")
            .arg(format!("unix://{}", directory.join("relay.sock").display()))
            .arg("--events")
            .arg(vm.logs().join("events.jsonl"))
            .args(["--log", "info,host_relay=debug", "--log-format", "json"])
            .stdout(Stdio::null())
            .stderr(File::create(&log).context("make the relay's log")?);
        let relay = Self { process: TiedProcess::start(command)?, log, policies };
        relay.wait("the session", |entry| entry["message"] == "connected")?;
        Ok(relay)
    }

    /// Writes a file of the policy directory, as editors do, and returns when it was in place.
    pub(super) fn write(&self, file: &str, yaml: &str) -> Result<SystemTime> {
        let hidden = self.policies.join(format!(".{file}~"));
        fs::write(&hidden, yaml).with_context(|| format!("write {file}"))?;
        let time = SystemTime::now();
        fs::rename(&hidden, self.policies.join(file)).with_context(|| format!("rename {file}"))?;
        Ok(time)
    }

    /// Declares a pod that the policies select.
    pub(super) fn pod(&self, name: &str) -> Result<()> {
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: shop\n  \
             uid: {name}-uid\n  labels:\n    app: {APP}\nspec:\n  containers:\n  - name: main\n"
        );
        self.write(&format!("pod-{name}.yaml"), &yaml).map(drop)
    }

    /// Waits until the guest has taken that rule set, and returns the line that says so.
    pub(super) fn applied(&self, pod: &str, generation: u64) -> Result<Value> {
        self.line_of("applied", pod, generation)
    }

    /// Waits for a line about a rule set.
    pub(super) fn line_of(&self, message: &str, pod: &str, generation: u64) -> Result<Value> {
        let (target, generation) = (format!("shop/{pod}/main"), generation.to_string());
        self.wait(&format!("{message:?} of generation {generation} of {target}"), |entry| {
            entry["message"] == message
                && entry["container"] == target.as_str()
                && entry["generation"] == generation.as_str()
        })
    }

    fn wait(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        let found = poll(Instant::now() + patient(2 * PATIENCE), || {
            let text = fs::read_to_string(&self.log).ok()?;
            let mut entries = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            entries.find(|entry| accept(entry))
        });
        found.with_context(|| format!("no {what}; the log is {}", self.log.display()))
    }

    /// Its process, on the host.
    pub(super) fn pid(&self) -> u32 {
        self.process.child().id()
    }
}

/// Resident memory in MiB, of `/proc/PID/status`.
pub(super) fn resident(status: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(number.trim().parse::<f64>().context("VmRSS")? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_deep_as_they_say() {
        for (depth, names) in [(Depth::Three, 3), (Depth::Ten, 10)] {
            assert_eq!(file(depth, 4).matches('/').count(), names);
            assert_eq!(format!("{}/1", fresh(depth, 0)).matches('/').count(), names);
        }
    }

    #[test]
    fn resident_memory_is_read_in_mebibytes() {
        assert_eq!(resident("VmSize:\t9 kB\nVmRSS:\t    2048 kB\n").unwrap(), 2.0);
        assert!(resident("VmSize:\t9 kB\n").is_err());
    }
}
