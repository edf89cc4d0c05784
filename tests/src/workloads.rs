// SPDX-License-Identifier: Apache-2.0
//! Whether legitimate work goes on under hardening: workloads of servers, each run without rules and
//! then under policies, on every root and level that is asked for.
//!
//! In: a [`Selection`]; what the workloads do, and what a level is known to cost them, is in
//! `workloads/`. Out: an [`Outcome`]: for each workload whether it worked, which denials it met, and
//! which of those nobody has explained. A level that the relay refuses is reported as not available,
//! never as passed; a workload that fails without rules judges nothing. Never: knows what a level
//! does; it reads the relay's events.

use anyhow::Result;

use crate::bench::{Report, Targets};
use crate::prerequisites::{self, Purpose};
use crate::rootfs::Medium;
use crate::step::{say, step};

use self::denials::Denial;
pub use self::outcome::Outcome;
use self::run::{Ran, Stage};
pub use self::selection::{Level, Policies, Selection, Under, Unknown};
use self::table::Table;

mod denials;
mod judge;
mod outcome;
mod run;
mod selection;
mod table;

/// Runs workloads.
///
/// # Errors
/// If the table of workloads cannot be read, or machines cannot be had.
pub fn run(selection: &Selection) -> Result<Outcome> {
    let table = Table::committed()?.only(&selection.only)?;
    prerequisites::ensure(&[Purpose::Compile, Purpose::BuildKernel, Purpose::Boot])?;
    step("programs and image", |_| run::build())?;
    let mut report = Report::new("workloads", Targets::of("workloads")?);
    report.condition_of_host("workloads")?;
    let mut outcome = Outcome::new(report);
    for root in &selection.roots {
        on_root(selection, *root, &table, &mut outcome);
    }
    if selection.is_all() {
        outcome.expect_all_targets();
    }
    Ok(outcome)
}

/// All that is asked for on one root. What cannot be run does not keep the rest from it.
fn on_root(selection: &Selection, root: Medium, table: &Table, outcome: &mut Outcome) {
    let free = match attempt(root, None, table) {
        Ok(free) => free,
        Err(error) => return outcome.not_run(root, None, &error),
    };
    for under in selection.under() {
        match attempt(root, Some(under), table) {
            Ok(ran) => outcome.add((root, under), table, (&free, ran)),
            Err(error) => outcome.not_run(root, Some(under), &error),
        }
    }
}

/// All workloads of the table, one after the other in one container.
fn attempt(root: Medium, under: Option<Under>, table: &Table) -> Result<Vec<Ran>> {
    let title = match under {
        None => format!("{root}, without rules"),
        Some(under) => format!("{root}, {under}"),
    };
    let ran = step(&title, |step| Stage::start(root, under, table)?.run_all(table, step));
    ran.inspect_err(|error| say(&format!("error: {error:#}")))
}
