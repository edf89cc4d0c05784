// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test`: runs suites and counts their tests; `cargo xtask ci`: the same for CI.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
use e2e::step;
use e2e::suites::{self, Suite};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Suites to run; all but `soak` if none is named
    #[arg(value_name = "SUITE", value_parser = names().try_map(|name| name.parse::<Suite>()))]
    suites: Vec<Suite>,
    /// Print the names of the suites and what they are about, and run none
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { suites, list } = args;
    if list {
        return print_list();
    }
    run_suites(&if suites.is_empty() { Suite::gate() } else { suites })
}

/// Every suite, with plain lines whatever the console is.
pub(crate) fn run_ci() -> Result<ExitCode> {
    step::be_plain();
    run_suites(&Suite::gate())
}

fn run_suites(chosen: &[Suite]) -> Result<ExitCode> {
    let report = suites::run(chosen)?;
    writeln!(io::stdout(), "{report}")?;
    Ok(if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_list() -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    for suite in Suite::ALL {
        writeln!(out, "{suite:<8}{}", suite.about())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn names() -> PossibleValuesParser {
    let value = |suite: Suite| PossibleValue::new(suite.name()).help(suite.about());
    PossibleValuesParser::new(Suite::ALL.map(value))
}
