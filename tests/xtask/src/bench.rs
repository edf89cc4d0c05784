// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench`: takes figures and compares them with their targets; exit code 1 if one is
//! missed, 2 if one could not be taken.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use e2e::bench::{self, Group};

use crate::demo::Kernel;

/// What could not be measured is worse than what was missed.
const INCOMPLETE: u8 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which figures
    suite: Suite,
    /// Take only these; may be repeated, or separated by commas
    #[arg(long, value_name = "GROUP", value_delimiter = ',', value_parser = names())]
    only: Vec<Group>,
    /// Kernel of the guests
    #[arg(long, value_name = "KERNEL", default_value = "own")]
    kernel: Kernel,
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A set of figures.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Suite {
    /// What the product costs a guest, in instructions, time and memory; about ten minutes
    Quick,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { suite: Suite::Quick, only, kernel, json } = args;
    let groups: BTreeSet<Group> =
        if only.is_empty() { Group::ALL.into() } else { only.into_iter().collect() };
    let report = bench::quick(&groups, kernel.into())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", report.table(out.is_terminal()))?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(match (report.is_complete(), report.is_met()) {
        (false, _) => ExitCode::from(INCOMPLETE),
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
    })
}

fn names() -> impl clap::builder::TypedValueParser<Value = Group> {
    PossibleValuesParser::new(Group::ALL.map(Group::name)).try_map(|name| name.parse::<Group>())
}
