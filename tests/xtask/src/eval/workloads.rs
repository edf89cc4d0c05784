// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask eval workloads`: whether legitimate work goes on under hardening.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use e2e::rootfs::Medium;
use e2e::workloads::{self, Level, Policies, Selection};

use crate::figures;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Roots of the containers; all if not given
    #[arg(long, value_delimiter = ',', value_parser = names(&Medium::ALL, Medium::name))]
    roots: Vec<Medium>,
    /// Levels of hardening; base, contained and sealed if not given
    #[arg(long, value_delimiter = ',', value_parser = names(&Level::ALL, Level::name))]
    levels: Vec<Level>,
    /// Sets of policies; both if not given
    #[arg(long, value_delimiter = ',', value_parser = names(&Policies::ALL, Policies::name))]
    policies: Vec<Policies>,
    /// Run only these workloads, by the names in tests/workloads/workloads.toml
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// Write all results to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { roots, levels, policies, only, json } = args;
    let all = Selection::default();
    let outcome = workloads::run(&Selection {
        roots: if roots.is_empty() { all.roots } else { roots },
        levels: if levels.is_empty() { all.levels } else { levels },
        policies: if policies.is_empty() { all.policies } else { policies },
        only,
    })?;
    figures::print(|colours| outcome.table(colours))?;
    figures::save(json.as_deref(), &outcome)?;
    let report = outcome.report();
    Ok(figures::exit_code(report.is_complete(), report.is_met()))
}

fn names<T>(all: &[T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T> + use<T>
where
    T: FromStr<Err: Error + Send + Sync> + Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|one| name(*one))).try_map(|name| name.parse::<T>())
}
