// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask eval usecases`: path manipulation as an operator sees it on a terminal.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use e2e::usecases;

use crate::demo::Kernel;

/// What could not be had is worse than what was missed.
const INCOMPLETE: u8 = 2;

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
    let mut out = io::stdout().lock();
    writeln!(out, "{}", report.table(out.is_terminal()))?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report.json())? + "\n";
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(match (report.is_complete(), report.is_met()) {
        (false, _) => ExitCode::from(INCOMPLETE),
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
    })
}
