// SPDX-License-Identifier: Apache-2.0
//! The binary: reads its arguments, installs logging and signals, and runs.
#![forbid(unsafe_code)]

use std::{io, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use host_relay::{
    args::{Args, Command},
    check, log, relay,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    match args.command {
        Some(Command::Completions { shell }) => {
            clap_complete::generate(
                shell,
                &mut Args::command(),
                "kadapter-relay",
                &mut io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Check { dir }) => Ok(check::run(&dir)?),
        None => serve(args),
    }
}

#[tokio::main]
async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    log::install(&args.log, args.log_format)?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let stopped = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    relay::run(args.config()?, stopped).await?;
    Ok(ExitCode::SUCCESS)
}
