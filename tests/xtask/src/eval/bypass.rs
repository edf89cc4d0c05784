// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask eval bypass`: the matrix of ways, rules and roots.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use attacks::catalogue::{ALL, Entry, Set};
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use e2e::bench::Report;
use e2e::bypass::{self, COLUMNS, Column, Matrix, Options, User};
use e2e::rootfs::Medium;
use serde::Serialize;

use crate::{demo::Kernel, figures};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go only these ways; may be repeated, or separated by commas
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = ways())]
    only: Vec<&'static Entry>,
    /// Only on these roots
    #[arg(long, value_name = "ROOT", value_delimiter = ',', value_parser = roots())]
    roots: Vec<Medium>,
    /// Only under these rules, and without any
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', value_parser = columns())]
    columns: Vec<&'static Column>,
    /// Who goes the ways
    #[arg(long, value_name = "USER", default_value = "root")]
    user: Who,
    /// Kernel of the guests; the own one if it is in the cache, else Debian's, if not given
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<Kernel>,
    /// Write figures and cells to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Who goes the ways.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    /// Root with all capabilities
    Root,
    /// User 1000 without capabilities
    Ordinary,
}

/// The figures as of every suite, and all cells.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    report: &'a Report,
    cells: &'a Matrix,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { only, roots, columns, user, kernel, json } = args;
    let whole = Options::default();
    let options = Options {
        ways: if only.is_empty() { whole.ways } else { only },
        media: if roots.is_empty() { whole.media } else { roots },
        columns: if columns.is_empty() { whole.columns } else { columns },
        user: match user {
            Who::Root => User::Root,
            Who::Ordinary => User::Ordinary,
        },
        kernel: kernel.map_or(whole.kernel, Into::into),
    };
    let (matrix, report) = bypass::run(&options)?;
    figures::print(|colours| format!("{}\n{}", matrix.table(colours), report.table(colours)))?;
    figures::save(json.as_deref(), &Json { report: &report, cells: &matrix })?;
    Ok(figures::exit_code(report.is_complete(), report.is_met()))
}

fn ways() -> impl TypedValueParser<Value = &'static Entry> {
    let ways = ALL.iter().filter(|entry| entry.set != Set::Control);
    let value = |entry: &'static Entry| PossibleValue::new(entry.id).help(entry.name);
    PossibleValuesParser::new(ways.map(value)).map(|id| Entry::find(&id).expect("it is listed"))
}

fn roots() -> impl TypedValueParser<Value = Medium> {
    PossibleValuesParser::new(Medium::ALL.map(Medium::name)).try_map(|name| name.parse::<Medium>())
}

fn columns() -> impl TypedValueParser<Value = &'static Column> {
    let value = |column: &'static Column| PossibleValue::new(column.name).help(column.about);
    PossibleValuesParser::new(COLUMNS.iter().map(value)).try_map(|name| name.parse())
}
