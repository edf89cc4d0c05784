// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask demo`: shows the main job; exit code 1 if a step does not hold.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use e2e::{
    demo::{self, Options},
    prerequisites::{self, Purpose},
    vm::{KernelChoice, Line},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernel of the guest; the own one if it is in the cache, else Debian's, if not given
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<Kernel>,
    /// Leave everything running, say how to look around, and take commands
    #[arg(long)]
    keep: bool,
}

/// A kernel to boot.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kernel {
    /// Built for Kadapter; takes ten minutes or more if it is not in the cache
    Own,
    /// Debian's cloud kernel, Linux 6.12
    #[value(alias = "debian-6.12")]
    Debian,
    /// Debian's cloud kernel of the line that Kata ships, Linux 6.18
    #[value(name = "debian-6.18")]
    Debian618,
    /// The newest of Debian's cloud kernels
    DebianNewest,
}

impl From<Kernel> for KernelChoice {
    fn from(kernel: Kernel) -> Self {
        match kernel {
            Kernel::Own => Self::Own,
            Kernel::Debian => Self::Debian(Line::V6_12),
            Kernel::Debian618 => Self::Debian(Line::V6_18),
            Kernel::DebianNewest => Self::Debian(Line::Newest),
        }
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { kernel, keep } = args;
    prerequisites::ensure(if matches!(kernel, Some(Kernel::Own)) {
        &[Purpose::Compile, Purpose::Boot, Purpose::BuildKernel]
    } else {
        &[Purpose::Compile, Purpose::Boot]
    })?;
    let options = Options { kernel: kernel.map_or(KernelChoice::Auto, Into::into), keep };
    match demo::run(options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}
