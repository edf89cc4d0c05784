// SPDX-License-Identifier: Apache-2.0
//! `kadapter-agent`: parses its arguments and does what they say.

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};
use guest_agent::{
    args::{Args, Command, with_subcommand},
    check, hook, keeper, notify,
    posture::self_test,
    run,
};

fn main() -> ExitCode {
    let args = Args::parse_from(with_subcommand(std::env::args_os()));
    match execute(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kadapter-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Hook(args) => Ok(hook::run(args)?),
        Command::Wait(args) => Ok(notify::wait(&args)?),
        Command::Check { hooks } => Ok(check::hooks(&hooks)?),
        Command::Keeper { socket } => Ok(keeper::run(&socket)?),
        Command::SelfTest => Ok(self_test::child()?),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Args::command(),
                "kadapter-agent",
                &mut io::stdout(),
            );
            Ok(())
        }
    }
}
