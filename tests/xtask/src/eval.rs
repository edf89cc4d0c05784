// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask eval`: tables that show what the product is worth; exit code 1 if a target is
//! missed, 2 if a part could not be had.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

mod bypass;
mod usecases;
mod workloads;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Go ways around a rule on a program, under several sets of rules, on several roots
    ///
    /// A denial counts only if the same steps led to the program without rules.
    Bypass(bypass::Args),
    /// Rename, copy and link a blocked program on a terminal, without and with hardening
    ///
    /// What is seen has to be the text that users know, word for word.
    Usecases(usecases::Args),
    /// Run workloads of servers under hardening, level by level
    ///
    /// None may be denied anything, or fail, for a reason that is not known beforehand.
    Workloads(workloads::Args),
}

pub(crate) fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Bypass(args) => bypass::run(args),
        Verb::Usecases(args) => usecases::run(args),
        Verb::Workloads(args) => workloads::run(args),
    }
}
