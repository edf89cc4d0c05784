// SPDX-License-Identifier: Apache-2.0
//! Reference enforcers: the path and subject logic of peers, at work on a container of a VM.
//!
//! In: a VM that has [`Enforcer::file`], a container, and which [`Logic`]. Out: an [`Enforcer`] that
//! denies until it is stopped, or its VM ends. What the logic is lies in the package
//! `reference-enforcers`; the product's agent has no part in it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::patience::{patient, poll};
use crate::rootfs::Running;
use crate::vm::{End, GuestFile, Spawn, Vm, static_program};

pub use self::expected::{COLUMNS, Cell, Expected, InvalidExpected};

mod expected;

const PROGRAM: &str = "/usr/bin/reference-enforcer";

/// Load and attach of all thirteen programs take three seconds under emulation; this covers a busy
/// host.
const START: Duration = Duration::from_secs(60);

/// A process that was killed ends in milliseconds.
const END: Duration = Duration::from_secs(20);

const SIGKILL: i32 = 9;

/// What is enforced.
#[derive(Debug, Clone, Copy)]
pub enum Logic<'a> {
    /// A column of the matrix, by its name there, against these programs.
    Column(&'a str, &'a [&'a str]),
    /// Rules as the program's `--rule` takes them, after its `--subject` and `--paths`.
    Rules {
        /// `namespaces` or `cgroup`.
        subject: &'a str,
        /// `namespace-root` or `task-root`.
        paths: &'a str,
        /// `HOOKS=PATH` each.
        rules: &'a [String],
    },
}

/// A peer at work.
#[derive(Debug)]
pub struct Enforcer<'vm> {
    vm: &'vm Vm,
    pid: i32,
}

// === impl Logic ===

impl Logic<'_> {
    fn arguments(self) -> Vec<String> {
        let pairs = |option: &str, values: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            values.flat_map(|value| [option.to_owned(), value.to_owned()]).collect()
        };
        match self {
            Self::Column(column, targets) => {
                let head = pairs("--column", &mut [column].into_iter());
                [head, pairs("--target", &mut targets.iter().copied())].concat()
            }
            Self::Rules { subject, paths, rules } => [
                pairs("--subject", &mut [subject].into_iter()),
                pairs("--paths", &mut [paths].into_iter()),
                pairs("--rule", &mut rules.iter().map(String::as_str)),
            ]
            .concat(),
        }
    }
}

// === impl Enforcer ===

impl<'vm> Enforcer<'vm> {
    /// The program, for [`crate::vm::VmConfig::files`].
    ///
    /// # Errors
    /// If it does not compile.
    pub fn file() -> Result<GuestFile> {
        let program = static_program("reference-enforcers", "reference-enforcer")?;
        Ok(GuestFile::program(PROGRAM, program))
    }

    /// Starts to deny in a container. Returns once all of it is in force.
    ///
    /// # Errors
    /// If the program does not start, or the kernel refuses its rules; the error has its words.
    pub fn start(vm: &'vm Vm, logic: Logic<'_>, container: &Running<'_>) -> Result<Self> {
        let log = format!("/run/reference-{}.log", container.pid());
        vm.write_file(&log, 0o600, "")?;
        let mut argv = vec![PROGRAM.to_owned()];
        argv.extend(logic.arguments());
        argv.extend(["--cgroup".into(), container.cgroup()]);
        argv.extend(["--pid".into(), container.pid().to_string()]);
        let pid = vm.spawn(Spawn { argv, log: log.clone(), ..Spawn::default() })?;
        let enforcer = Self { vm, pid };
        let answer = poll(Instant::now() + patient(START), || enforcer.answer(&log).transpose());
        answer.context("the reference enforcer does not come up")??;
        Ok(enforcer)
    }

    fn answer(&self, log: &str) -> Result<Option<()>> {
        let end = self.vm.wait(self.pid, Duration::ZERO)?;
        let words = String::from_utf8_lossy(&self.vm.read_file(log)?).into_owned();
        if end != End::TimedOut {
            bail!("the reference enforcer ended with {end}: {words}");
        }
        Ok(words.lines().any(|line| line == "ready").then_some(()))
    }

    /// Stops to deny. Returns once nothing of it is in force.
    ///
    /// # Errors
    /// If it is not there any more, so that nobody knows since when it did not deny.
    pub fn stop(self) -> Result<()> {
        self.vm.kill(self.pid, SIGKILL).context("the reference enforcer ended by itself")?;
        match self.vm.wait(self.pid, patient(END))? {
            End::Signaled { signal: SIGKILL } => Ok(()),
            end => bail!("the reference enforcer ended with {end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_program() {
        let column = Logic::Column("K", &["/a", "/b"]).arguments();
        assert_eq!(column, ["--column", "K", "--target", "/a", "--target", "/b"]);
        let rules = ["exec=/a".to_owned()];
        let own = Logic::Rules { subject: "cgroup", paths: "task-root", rules: &rules };
        let expected =
            ["--subject", "cgroup", "--paths", "task-root", "--rule", "exec=/a"].map(str::to_owned);
        assert_eq!(own.arguments(), expected);
    }
}
