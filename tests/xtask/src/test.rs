// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test`: runs suites and counts their tests; `cargo xtask ci`: the same for CI.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
use e2e::step;
use e2e::suites::{self, Cases, Suite};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Suites to run; all but `soak` if none is named
    #[arg(value_name = "SUITE", value_parser = names().try_map(|name| name.parse::<Suite>()))]
    suites: Vec<Suite>,
    /// Print the names of the suites and what they are about, and run none
    #[arg(long)]
    list: bool,
    /// Run the conformance cases of this directory instead of the own ones
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Write how the conformance cases ended to this file, for CI systems
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write how the conformance cases ended to this file, for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { suites, list, cases, junit, json } = args;
    if list {
        return print_list();
    }
    let cases = Cases { directory: cases, junit, json };
    run_suites(&if suites.is_empty() { Suite::gate() } else { suites }, &cases)
}

/// Every suite, with plain lines whatever the console is.
pub(crate) fn run_ci() -> Result<ExitCode> {
    step::be_plain();
    run_suites(&Suite::gate(), &Cases::default())
}

fn run_suites(chosen: &[Suite], cases: &Cases) -> Result<ExitCode> {
    let report = suites::run(chosen, cases)?;
    writeln!(io::stdout(), "{report}")?;
    Ok(if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_list() -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    for suite in Suite::ALL {
        writeln!(out, "{suite:<12}{}", suite.about())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn names() -> PossibleValuesParser {
    let value = |suite: Suite| PossibleValue::new(suite.name()).help(suite.about());
    PossibleValuesParser::new(Suite::ALL.map(value))
}
