// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask kernel`: builds the guest kernel and checks configurations.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use e2e::kernel::{self, Variant, check};
use e2e::prerequisites::{self, Purpose};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build the kernel of guest-kernel/ unless the cache has it, and print where it lies
    Build {
        /// Build this one instead, on which the agent must refuse: without-bpf-lsm or
        /// without-function-tracer
        #[arg(long, value_name = "NAME")]
        variant: Option<Variant>,
    },
    /// Tell whether a kernel suffices for enforcement, and what breaks if not
    ///
    /// Exit code 0: it suffices. 1: a required option is missing. 2: the input is no kernel
    /// configuration.
    Check {
        /// A .config, /proc/config.gz, or - for standard input
        file: PathBuf,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Build { variant } => build(variant),
        Verb::Check { file, json } => check_file(&file, json),
    }
}

fn build(variant: Option<Variant>) -> Result<ExitCode> {
    let purpose = if variant.is_some() { Purpose::BuildVariants } else { Purpose::BuildKernel };
    prerequisites::ensure(&[purpose])?;
    let image = variant.map_or_else(kernel::build, kernel::build_variant)?;
    let mut out = io::stdout().lock();
    writeln!(out, "release  {}", image.release)?;
    writeln!(out, "bzImage  {}", image.bzimage.display())?;
    if let Some(pvh) = &image.pvh {
        writeln!(out, "PVH      {}", pvh.display())?;
    }
    writeln!(out, "config   {}", image.config.display())?;
    Ok(ExitCode::SUCCESS)
}

fn check_file(file: &Path, json: bool) -> Result<ExitCode> {
    let bytes = read(file).with_context(|| format!("reading {}", file.display()))?;
    let report = check::check(&bytes, &check::needs()?)
        .with_context(|| format!("{} is no kernel configuration", file.display()))?;
    let text = if json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    writeln!(io::stdout(), "{text}")?;
    Ok(if report.sufficient { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}
