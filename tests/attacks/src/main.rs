// SPDX-License-Identifier: Apache-2.0
//! Goes ways around a rule on a program, for real, and tells honestly where each led.
//!
//! In: ways by their ids, paths of the image. Out: a line for each way, and an exit code: 0 if the
//! target's code ran, 1 if the kernel denied a step, 2 if a step failed for another reason, 3 if it
//! was called wrongly. It knows no rules and does not judge; who runs it compares with a run
//! without rules.

mod args;
mod attempt;
mod change;
mod elf;
mod image;
mod memory;
mod pause;
mod ring;
mod scene;
mod steps;
mod trace;
mod undo;
mod ways;

use std::io::{self, Write as _};
use std::process::ExitCode;

use attacks::catalogue::{ALL, CODE, Entry};
use attacks::report::{self, Report};

use self::args::{Args, RunArgs, Verb};
use self::attempt::Prepared;

/// Called wrongly, or the driver itself could not go on.
const UNUSABLE: u8 = 3;

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { UNUSABLE } else { 0 };
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match args.verb {
        Verb::List { json } => list(json).map(|()| 0),
        Verb::Image(args) => image::lay(&args).map(|()| 0),
        Verb::Change(args) => Ok(change::run(&args)),
        Verb::Run(args) => run(&args).map(|reports| report::code(&reports)),
    };
    done.map_or_else(
        |error| {
            eprintln!("attack: {error}");
            ExitCode::from(UNUSABLE)
        },
        ExitCode::from,
    )
}

fn list(json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let all: Vec<&Entry> = ALL.iter().chain(CODE).collect();
    if json {
        return writeln!(out, "{}", serde_json::to_string(&all)?);
    }
    all.iter()
        .try_for_each(|entry| writeln!(out, "{:<4} {:<22} {}", entry.id, entry.name, entry.steps))
}

/// First phases, then the pause, then the rest, each in the order given.
fn run(args: &RunArgs) -> io::Result<Vec<Report>> {
    let prepared: Vec<_> =
        args.ways.iter().map(|entry| Prepared::new(&args.scene, entry)).collect();
    if prepared.iter().any(Prepared::has_begun) {
        pause::wait(&args.pause)?;
    }
    let mut reports = Vec::new();
    for way in prepared {
        let report = way.go();
        let mut out = io::stdout().lock();
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            writeln!(out, "{report}")?;
        }
        reports.push(report);
    }
    Ok(reports)
}
