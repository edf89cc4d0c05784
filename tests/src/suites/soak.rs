// SPDX-License-Identifier: Apache-2.0
//! What takes long: fuzz targets, each by the engine of the stable toolchain, then by libFuzzer,
//! where a nightly toolchain is; and the loops of the guest suite, ten times as long as in the gate.
//!
//! Out: counts, and for each target a figure of what was executed and, by libFuzzer, of what was
//! reached. Inputs that reach new code stay in the target directory, so that the next run begins
//! with them. Never: bounded by time, for then a busy machine would test less.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::cargo::{self, NIGHTLY, Program};
use super::report::Tally;
use super::{Suite, attempt, counted, libtest, measured};
use crate::step::Step;
use crate::vm::target_directory;

/// Executions of each target, as the targets read it; also for libFuzzer.
const EXECUTIONS: &str = "KADAPTER_FUZZ_EXECUTIONS";

/// If nobody says otherwise: of thirteen targets, more than 10^7 in total.
const RANDOM_EXECUTIONS: &str = "1000000";

/// An instrumented execution takes several times as long, and is worth more.
const GUIDED_EXECUTIONS: &str = "200000";

/// Bytes of entropy, as many as the other engine gives.
const MAX_ENTROPY: usize = 4096;

/// Seconds until libFuzzer takes an execution for endless. Slow ones are found by the other engine,
/// on code that is not instrumented.
const PATIENCE: u32 = 60;

/// Of the output of a run that failed: the panic, what is left of its input, and the stack.
const TAIL_LINES: usize = 40;

/// Below the target directory.
const GUIDED: &str = "guided";

/// Tests of the guest suite that do something again and again.
struct Loop {
    tests: &'static str,
    /// How often, as the tests read it.
    variable: &'static str,
    /// If nobody says otherwise.
    times: &'static str,
}

const LOOPS: [Loop; 2] = [
    Loop { tests: "takeover::", variable: "KADAPTER_KILLS", times: "100" },
    Loop { tests: "overload::", variable: "KADAPTER_DENIALS", times: "1000000" },
];

/// What libFuzzer says at its end.
#[derive(Debug, PartialEq, Eq)]
struct Reached {
    executions: u64,
    edges: u64,
    features: u64,
    corpus: u64,
}

/// Runs it all; the programs are those of the other suites.
pub(super) fn run(programs: &[Program]) -> Tally {
    let mut tally = random();
    tally += guided();
    for program in programs.iter().filter(|program| program.suite == Suite::Guest) {
        for a_loop in LOOPS {
            tally += a_loop.run(program);
        }
    }
    tally
}

impl Loop {
    fn run(&self, program: &Program) -> Tally {
        let Self { tests, variable, times } = self;
        counted(&format!("soak: {} {tests} {variable}", program.title), |step, tally| {
            let mut command = program.command(Suite::Soak.limit());
            command.arg(tests);
            if env::var_os(variable).is_none() {
                command.env(variable, times);
            }
            let (status, output) = step.capture(&mut command)?;
            libtest::read(&output, status).settle(tally)
        })
    }
}

/// Runs the targets optimised, with all checks of a build that is not.
fn random() -> Tally {
    let Some(programs) = attempt(cargo::fuzz_targets) else { return Tally::FAILED };
    let mut tally = Tally::default();
    for program in &programs {
        tally += counted(&format!("soak: {}", program.title), |step, tally| {
            let mut command = program.command(Suite::Soak.limit());
            command.env(EXECUTIONS, executions(RANDOM_EXECUTIONS));
            let (status, output) = step.capture(&mut command)?;
            libtest::read(&output, status).settle(tally)
        });
    }
    tally
}

fn guided() -> Tally {
    if !has_nightly() {
        let reason = format!(
            "soak by libFuzzer: rustup has no toolchain `{NIGHTLY}`, the stable engine ran alone"
        );
        return Tally { skipped: vec![reason], ..Tally::default() };
    }
    let directory = target_directory().join(GUIDED);
    let Some(programs) = attempt(|| cargo::guided_fuzz_targets(&directory)) else {
        return Tally::FAILED;
    };
    let mut tally = Tally::default();
    for program in &programs {
        let Some(targets) = attempt(|| targets(program)) else { return Tally::FAILED };
        for target in targets {
            tally += counted(&format!("soak: {target} by libFuzzer"), |step, tally| {
                guide(step, program, (&target, &directory))?;
                tally.passed = 1;
                Ok(())
            });
        }
    }
    tally
}

/// One target: libFuzzer ends the process, so each has its own.
fn guide(step: &Step, program: &Program, (target, directory): (&str, &Path)) -> Result<()> {
    let corpus = format!("corpus/{target}");
    for made in [&corpus, "failures"] {
        fs::create_dir_all(directory.join(made)).with_context(|| format!("make {made}"))?;
    }
    let runs = executions(GUIDED_EXECUTIONS);
    let arguments = [
        &corpus,
        &format!("-runs={runs}"),
        &format!("-max_len={MAX_ENTROPY}"),
        &format!("-timeout={PATIENCE}"),
        &format!("-artifact_prefix=failures/{target}-"),
    ];
    let mut command = program.command(Suite::Soak.limit());
    // The paths are relative: they are separated by spaces.
    command.args(["--exact", target, "--nocapture"]).current_dir(directory);
    command.env("BOLERO_LIBFUZZER_ARGS", arguments.map(String::as_str).join(" "));
    let started = Instant::now();
    let (status, output) = step.capture(&mut command)?;
    let Some(reached) = status.success().then(|| read(&output)).flatten() else {
        let lines: Vec<_> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        let failures = directory.join("failures");
        bail!(
            "{status}\n{tail}\nreplay: KADAPTER_FUZZ_INPUT={}/{target}-... cargo test --package fuzz \
             -- --exact {target}",
            failures.display()
        );
    };
    let Reached { executions, edges, features, corpus } = reached;
    let seconds = started.elapsed().as_secs_f64();
    measured(&format!(
        "libFuzzer {target}: {executions} executions, {seconds:.1} s, {edges} edges, {features} \
         features, {corpus} inputs kept"
    ));
    Ok(())
}

fn executions(if_not_said: &str) -> String {
    env::var(EXECUTIONS).unwrap_or_else(|_| if_not_said.to_owned())
}

/// Without rustup there is one toolchain, the one that runs.
fn has_nightly() -> bool {
    let listed = Command::new("rustup").args(["toolchain", "list"]).output();
    listed.is_ok_and(|listed| {
        String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.starts_with(NIGHTLY))
    })
}

/// The names of a program's tests.
fn targets(program: &Program) -> Result<Vec<String>> {
    let mut command = program.command(Suite::Unit.limit());
    let listed = command.args(["--list", "--format", "terse"]).output().context("list targets")?;
    let text = String::from_utf8(listed.stdout).context("the list of targets")?;
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(ToOwned::to_owned).collect())
}

/// `#200000 DONE   cov: 1046 ft: 3321 corp: 345/12Kb lim: 1040 exec/s: 25000 rss: 57Mb`
fn read(output: &str) -> Option<Reached> {
    let mut lines = output.lines().rev();
    let words: Vec<_> = lines.find(|line| line.contains("DONE"))?.split_whitespace().collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.split('/').next()?.parse().ok()
    };
    Some(Reached {
        executions: words.first()?.strip_prefix('#')?.parse().ok()?,
        edges: number("cov:")?,
        features: number("ft:")?,
        corpus: number("corp:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_libfuzzer_is_read() {
        let output = "INFO: Seed: 1\n#2\tINITED cov: 1 ft: 2 corp: 1/1b\n\
                      #200000\tDONE   cov: 1046 ft: 3321 corp: 345/12Kb lim: 1040 exec/s: 25000 rss: 57Mb\n\
                      Done 200000 runs in 8 second(s)\n";
        let expected = Reached { executions: 200_000, edges: 1046, features: 3321, corpus: 345 };
        assert_eq!(read(output), Some(expected));
    }

    #[test]
    fn a_run_without_an_end_is_none() {
        assert_eq!(read("#2\tINITED cov: 1 ft: 2 corp: 1/1b\n"), None);
        assert_eq!(read("#9\tDONE   cov: many\n"), None);
    }
}
