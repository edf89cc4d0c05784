// SPDX-License-Identifier: Apache-2.0
//! The binary: reads its arguments, installs logging and signals, and runs.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use host_relay::{
    args::{Args, Command, completions},
    check, key, log, relay,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    match args.command {
        Some(Command::Completions { shell }) => io::stdout().write_all(&completions(shell))?,
        Some(Command::Check { dir, json, defaults }) => {
            let options = check::Options { directory: dir, defaults: defaults.into(), json };
            return Ok(checked(&options));
        }
        Some(Command::Keygen { file }) => writeln!(io::stdout(), "{}", key::generate(&file)?)?,
        Some(Command::Pin { file }) => writeln!(io::stdout(), "{}", key::pin(&file)?)?,
        None => serve(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[tokio::main]
async fn serve(args: Args) -> anyhow::Result<()> {
    log::install(&args.log, args.log_format)?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let stopped = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    Ok(relay::run(args.config()?, stopped).await?)
}

/// A directory that cannot be checked is not one with errors.
fn checked(options: &check::Options) -> ExitCode {
    check::run(options).unwrap_or_else(|error| {
        // Without standard error there is nobody to tell.
        let _ = writeln!(io::stderr(), "Error: {:?}", anyhow::Error::from(error));
        ExitCode::from(2)
    })
}
