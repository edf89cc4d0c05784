// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask`: what developers and CI do with this repository beyond `cargo` itself.
//!
//! A thin dispatcher: one module per verb, each with its `Verb` or arguments and a `run`. The
//! work is done by `e2e`. Results go to standard output, progress and errors to standard error;
//! the exit code is 0 for success, 1 for a negative result, 2 for what could not be done.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod completions;
mod demo;
mod eval;
mod figures;
mod kernel;
mod test;
mod vm;

/// Builds kernels and images, boots VMs, runs suites
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the main job: a policy blocks a program in a container of a VM
    ///
    /// Installs the packages that are missing first (as root on Debian).
    Demo(demo::Args),
    /// Build the guest kernel, or check any kernel's configuration
    #[command(subcommand)]
    Kernel(kernel::Verb),
    /// Run test suites
    ///
    /// Installs the packages that are missing first (as root on Debian), and keeps what is slow to
    /// make in ${XDG_CACHE_HOME:-~/.cache}/kadapter. The last line counts all tests.
    Test(test::Args),
    /// Run every suite as CI does
    Ci,
    /// Take figures and compare them with their targets
    ///
    /// Exit code 0: every target is met. 1: one is missed. 2: a figure could not be taken.
    Bench(bench::Args),
    /// Print tables that show what the product is worth, and compare them with their targets
    ///
    /// Exit code 0: every target is met. 1: one is missed. 2: a part could not be had.
    #[command(subcommand)]
    Eval(eval::Verb),
    /// Boot a VM and run commands in it
    Vm(vm::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Kernel(verb) => kernel::run(verb),
        Verb::Test(args) => test::run(args),
        Verb::Ci => test::run_ci(),
        Verb::Bench(args) => bench::run(args),
        Verb::Eval(verb) => eval::run(verb),
        Verb::Vm(args) => vm::run(args),
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
