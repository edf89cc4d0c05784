// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask completions`: completion scripts, made from the same command line definition.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to print a script for
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let mut command = crate::Args::command();
    // Made in memory first: the generator panics when its reader is gone, as under `| head`.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "xtask", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
