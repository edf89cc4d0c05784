// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask eval usecases`: path manipulation as an operator sees it on a terminal.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use e2e::usecases;

use crate::{demo::Kernel, figures};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernel of the guest
    #[arg(long, value_name = "KERNEL", default_value = "own")]
    kernel: Kernel,
    /// Write the table to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { kernel, json } = args;
    let report = usecases::run(kernel.into())?;
    figures::print(|colours| report.table(colours))?;
    figures::save(json.as_deref(), &report.json())?;
    Ok(figures::exit_code(report.is_complete(), report.is_met()))
}
