// SPDX-License-Identifier: Apache-2.0
//! Suites on other kernels than the own one.
//!
//! In: the compiled test programs. Out: counts. The gate runs some conformance cases on the line that
//! Kata ships; `cargo xtask test kernels` runs all of them, and all ways around rules, on each of
//! Debian's. That every program loads everywhere is the suite `system`'s.

use anyhow::bail;

use super::cargo::Program;
use super::report::Tally;
use super::{Suite, counted, libtest};
use crate::bypass::{self, COLUMNS, Options};
use crate::vm::{KernelChoice, Line};

/// Cases for the gate, by their ids: one of each family of rules, all on one kind of root, so that they
/// share a machine.
const SMOKE: [&str; 10] = [
    "file/dir/deepest-wins",
    "file/names/rename-onto",
    "file/path/audit",
    "file/path/base-follows-inode",
    "file/whitelist/posture",
    "level/sealed/ancestor-guard",
    "mount/covering",
    "process/arguments/script",
    "process/dir/recursive",
    "source/file/source-beats-generic",
];

/// Some cases on the line that Kata ships.
pub(super) fn smoke(programs: &[Program]) -> Tally {
    conformance(programs, Line::V6_18, &SMOKE)
}

/// All cases and ways, on all lines.
pub(super) fn run(programs: &[Program]) -> Tally {
    let mut tally = Tally::default();
    for line in Line::ALL {
        tally += conformance(programs, line, &[]);
        tally += ways(line);
    }
    tally
}

fn conformance(programs: &[Program], line: Line, cases: &[&str]) -> Tally {
    let mut tally = Tally::default();
    for program in programs.iter().filter(|program| program.suite == Suite::Conformance) {
        tally += counted(&format!("{} on {}", program.title, line.name()), |step, tally| {
            let mut command = program.command(Suite::Kernels.limit());
            command.env("KADAPTER_LEGS", "vm").env("KADAPTER_KERNEL", line.name()).args(cases);
            let (status, output) = step.capture(&mut command)?;
            libtest::read(&output, status).settle(tally)
        });
    }
    tally
}

/// One test: the product's columns reach their targets.
fn ways(line: Line) -> Tally {
    counted(&format!("ways around rules on {}", line.name()), |_, tally| {
        let options = Options {
            columns: COLUMNS.iter().filter(|column| !column.is_reference()).collect(),
            kernel: KernelChoice::Debian(line),
            ..Options::default()
        };
        let (matrix, report) = bypass::run(&options)?;
        if !report.is_complete() || !report.is_met() {
            bail!("{}\n{}", matrix.table(false), report.table(false));
        }
        tally.passed = 1;
        Ok(())
    })
}
