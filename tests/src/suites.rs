// SPDX-License-Identifier: Apache-2.0
//! The suites of this repository, from the quickest to the whole system.
//!
//! In: the suites that are asked for. Out: progress on standard error, and a [`Report`] that
//! counts every test. What suites have in common is made once: packages, the test programs (one
//! cargo build for all, so that no two suites build anything twice), the guest kernel. Silence is
//! failure: a suite that ran no test has failed, and so has one that could not be built. Never:
//! stops at the first failure.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::kernel::Variant;
use crate::prerequisites::{self, Purpose};
use crate::step::{Step, say, step};
use crate::{kernel, tools};

pub use self::remark::{measured, skipped};
pub use self::report::Report;
use self::report::{SuiteReport, Tally};

mod cargo;
mod kernels;
mod libtest;
mod remark;
mod report;
mod skips;
mod soak;

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    /// Formatting and lints.
    Style,
    /// Whatever needs no machine and no other process of ours.
    Unit,
    /// Dependencies and files.
    Walls,
    /// The rig on itself.
    Rig,
    /// Cases that are data, in the model, in C and in a VM.
    Conformance,
    /// Policies from a file to a container in a VM.
    Guest,
    /// The relay against a guest that records.
    Relay,
    /// The demo, and every kernel.
    System,
    /// All cases and ways on each of Debian's kernels. Runs only by its name.
    Kernels,
    /// What takes long and is random. Runs only by its name.
    Soak,
}

/// A name that no suite has.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no suite is called `{0}`")]
pub struct UnknownSuite(String);

/// Which cases the suite `conformance` runs, and where it says how they ended; its own ones, and
/// nowhere else, if not given.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    /// Directory of cases.
    pub directory: Option<PathBuf>,
    /// File for CI systems.
    pub junit: Option<PathBuf>,
    /// File for machines.
    pub json: Option<PathBuf>,
}

/// Runs suites in their order. Fails only if what they need cannot be had.
pub fn run(chosen: &[Suite], cases: &Cases) -> Result<Report> {
    let chosen: BTreeSet<_> = chosen.iter().copied().collect();
    prerequisites::ensure(if chosen.iter().any(|suite| suite.boots_machines()) {
        &[Purpose::Compile, Purpose::BuildKernel, Purpose::BuildVariants, Purpose::Boot]
    } else {
        &[Purpose::Compile]
    })?;
    let programs = LazyCell::new(|| attempt(cargo::programs));
    let machine = LazyCell::new(|| attempt(prepare_machine));
    let mut report = Report::default();
    for suite in chosen {
        let started = Instant::now();
        let tally = match suite {
            Suite::Style => style(),
            _ if suite.boots_machines() && machine.is_none() => Tally::FAILED,
            _ => match &*programs {
                Some(programs) if suite == Suite::Soak => soak::run(programs),
                Some(programs) if suite == Suite::Kernels => kernels::run(programs),
                Some(programs) => run_programs(suite, programs, cases),
                None => Tally::FAILED,
            },
        };
        report.suites.push(SuiteReport { suite, tally, took: started.elapsed() });
    }
    Ok(report)
}

// === impl Suite ===

impl Suite {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 10] = [
        Self::Style,
        Self::Unit,
        Self::Walls,
        Self::Rig,
        Self::Conformance,
        Self::Guest,
        Self::Relay,
        Self::System,
        Self::Kernels,
        Self::Soak,
    ];

    /// Those that a change must pass.
    #[must_use]
    pub fn gate() -> Vec<Self> {
        let by_name = [Self::Kernels, Self::Soak];
        Self::ALL.into_iter().filter(|suite| !by_name.contains(suite)).collect()
    }

    /// Its name on the command line; of a suite of this package, the name of its test target too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Style => "style",
            Self::Unit => "unit",
            Self::Walls => "walls",
            Self::Rig => "rig",
            Self::Conformance => "conformance",
            Self::Guest => "guest",
            Self::Relay => "relay",
            Self::System => "system",
            Self::Kernels => "kernels",
            Self::Soak => "soak",
        }
    }

    /// What it is about.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Style => "formatting, and lints of every target",
            Self::Unit => "tests of all packages that need no machine, examples of the docs",
            Self::Walls => "who depends on whom, what is linked, what a source file looks like",
            Self::Rig => "VMs and containers, as the suites below take them for granted",
            Self::Conformance => "cases that are data: in the model, in C, in a VM of each root",
            Self::Guest => "policies from a file to containers in a VM, each verdict both ways",
            Self::Relay => "the relay against a guest that records",
            Self::System => "the demo; every program, and some cases, on every kernel",
            Self::Kernels => {
                "all cases and ways around rules on each of Debian's kernels; only if it is named"
            }
            Self::Soak => "fuzz targets, kills and denials, for long; only if it is named",
        }
    }

    fn boots_machines(self) -> bool {
        !matches!(self, Self::Style | Self::Unit | Self::Walls | Self::Relay)
    }

    /// How long one of its programs may take: many times what it takes, and less than any CI
    /// system waits.
    fn limit(self) -> Duration {
        let minutes = match self {
            Self::Kernels | Self::Soak => 24 * 60,
            _ if self.boots_machines() => 40,
            _ => 5,
        };
        Duration::from_secs(60 * minutes)
    }
}

// === impl Cases ===

impl Cases {
    /// What the test program reads. It runs in another directory.
    fn variables(&self) -> Result<Vec<(&'static str, PathBuf)>> {
        let named = [
            ("KADAPTER_CASES", &self.directory),
            ("KADAPTER_JUNIT", &self.junit),
            ("KADAPTER_JSON", &self.json),
        ];
        let given = named.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
        given.map(|(name, path)| Ok((name, std::path::absolute(path)?))).collect()
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(name: &str) -> Result<Self, UnknownSuite> {
        let found = Self::ALL.into_iter().find(|suite| suite.name() == name);
        found.ok_or_else(|| UnknownSuite(name.to_owned()))
    }
}

/// What all machines share and no test should have to wait for.
fn prepare_machine() -> Result<()> {
    step("guest kernel", |_| kernel::build())?;
    for variant in Variant::ALL {
        let title = format!("guest kernel {}", variant.name());
        step(&title, |_| kernel::build_variant(variant))?;
    }
    step("vsock device", |_| tools::vhost_device_vsock())?;
    Ok(())
}

fn style() -> Tally {
    let mut fmt = cargo::cargo();
    fmt.args(["fmt", "--all", "--check"]);
    let clippy = cargo::command("clippy", &["--all-targets", "--", "--deny", "warnings"]);
    let mut tally = check("style: rustfmt", fmt);
    tally += check("style: clippy", clippy);
    tally
}

/// One command, which counts as one test.
fn check(title: &str, mut command: Command) -> Tally {
    counted(title, |step, tally| {
        step.run(&mut command)?;
        tally.passed = 1;
        Ok(())
    })
}

fn run_programs(suite: Suite, programs: &[cargo::Program], cases: &Cases) -> Tally {
    let mut tally = Tally::default();
    for program in programs.iter().filter(|program| program.suite == suite) {
        tally += counted(&format!("{suite}: {}", program.title), |step, tally| {
            let mut command = program.command(suite.limit());
            if suite == Suite::Conformance {
                command.envs(cases.variables()?);
            }
            let (status, output) = step.capture(&mut command)?;
            libtest::read(&output, status).settle(tally)
        });
    }
    if suite == Suite::Unit {
        tally += counted("unit: examples of the docs", |step, tally| {
            let (status, output) = step.capture(&mut cargo::command("test", &["--doc"]))?;
            libtest::read(&output, status).settle(tally)
        });
    }
    if suite == Suite::System {
        tally += kernels::smoke(programs);
    }
    if tally.ran() == 0 {
        say(&format!("error: {suite}: ran no test"));
        tally.failed = 1;
    }
    tally
}

/// A step that counts. Its error is said at once, and counts as a failure if nothing else does.
fn counted(title: &str, work: impl FnOnce(&Step, &mut Tally) -> Result<()>) -> Tally {
    let mut tally = Tally::default();
    let result = step(title, |step| work(step, &mut tally));
    if let Err(error) = result {
        say(&format!("error: {error:#}"));
        tally.failed = tally.failed.max(1);
    }
    tally
}

/// What several suites wait for; its error is said once.
fn attempt<T>(work: impl FnOnce() -> Result<T>) -> Option<T> {
    work().map_err(|error| say(&format!("error: {error:#}"))).ok()
}

// === impl libtest::Reading ===

impl libtest::Reading {
    /// Takes the counts over. Fails with what the failed tests printed.
    fn settle(self, tally: &mut Tally) -> Result<()> {
        self.measured.iter().for_each(|figure| say(figure));
        let failed = self.tally.failed;
        *tally += self.tally;
        if failed > 0 {
            bail!("{failed} failed\n{}", self.failures.trim_end());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Suite;

    #[test]
    fn suites_are_found_by_their_names_and_run_in_their_order() {
        for suite in Suite::ALL {
            assert_eq!(suite.name().parse::<Suite>().unwrap(), suite);
        }
        assert!(Suite::ALL.is_sorted());
        let error = "all".parse::<Suite>().unwrap_err();
        assert_eq!(error.to_string(), "no suite is called `all`");
    }
}
