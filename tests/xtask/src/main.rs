// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask`: what developers and CI do with this repository beyond `cargo` itself.
//!
//! A thin dispatcher: one module per verb, each with its `Verb` or arguments and a `run`. The
//! work is done by `e2e`. Results go to standard output, progress and errors to standard error;
//! the exit code is 0 for success, 1 for a negative result, 2 for what could not be done.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod completions;
mod kernel;

/// Builds kernels and images, boots VMs, runs suites
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the guest kernel, or check any kernel's configuration
    #[command(subcommand)]
    Kernel(kernel::Verb),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().verb {
        Verb::Kernel(verb) => kernel::run(verb),
        Verb::Completions(args) => completions::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
