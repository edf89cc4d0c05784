// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench`: takes figures and compares them with their targets; exit code 1 if one is
//! missed, 2 if one could not be taken.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use e2e::bench::{self, Group};

use crate::{demo::Kernel, figures};

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
    /// The same without what programs weigh: what rules and levels ask of the engine
    Engine,
}

// === impl Suite ===

impl Suite {
    fn groups(self) -> BTreeSet<Group> {
        let all = Group::ALL.into_iter();
        match self {
            Self::Quick => all.collect(),
            Self::Engine => all.filter(|group| *group != Group::Size).collect(),
        }
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { suite, only, kernel, json } = args;
    let groups = if only.is_empty() { suite.groups() } else { only.into_iter().collect() };
    let report = bench::quick(&groups, kernel.into())?;
    figures::print(|colours| report.table(colours))?;
    figures::save(json.as_deref(), &report)?;
    Ok(figures::exit_code(report.is_complete(), report.is_met()))
}

fn names() -> impl clap::builder::TypedValueParser<Value = Group> {
    PossibleValuesParser::new(Group::ALL.map(Group::name)).try_map(|name| name.parse::<Group>())
}
