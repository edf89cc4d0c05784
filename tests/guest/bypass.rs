// SPDX-License-Identifier: Apache-2.0
//! A sample of `cargo xtask eval bypass`, so that the gate notices when the matrix cannot be had or
//! shows something else than it should.

use anyhow::{Context as _, Result, ensure};
use attacks::catalogue::{Entry, Set};
use e2e::bypass::{self, COLUMNS, Cell, Column, Matrix, Options, User};
use e2e::rootfs::Medium;

/// Goes these ways, as written and with their identity held.
fn matrix(ways: &[&str], medium: Medium, user: User) -> Result<Matrix> {
    let find = |id: &&str| Entry::find(id).with_context(|| format!("no way is called {id}"));
    let columns = COLUMNS.iter().filter(|column| ["literal", "base"].contains(&column.name));
    let options = Options {
        kernel: Options::default().kernel,
        ways: ways.iter().map(find).collect::<Result<_>>()?,
        columns: columns.collect(),
        media: vec![medium],
        user,
    };
    let (matrix, report) = bypass::run(&options)?;
    ensure!(report.is_complete() && report.is_met(), "{}", report.table(false));
    for name in ["literal", "base"] {
        let ran = matrix.ran(Set::Control, column(name)?, medium);
        ensure!(ran.is_some_and(|ran| ran.is_empty()), "{name}: {}", matrix.table(false));
    }
    Ok(matrix)
}

fn column(name: &str) -> Result<&'static Column> {
    Ok(name.parse::<&Column>()?)
}

/// Whether the ways that run under a column are these.
fn expect(matrix: &Matrix, name: &str, medium: Medium, expected: &[&str]) -> Result<()> {
    let [ways, more] = [Set::Ways, Set::More].map(|set| {
        Ok::<_, anyhow::Error>(matrix.ran(set, column(name)?, medium).unwrap_or_default())
    });
    let ran = [ways?, more?].concat();
    ensure!(ran == expected, "{name}: {ran:?} instead of {expected:?}\n{}", matrix.table(false));
    Ok(())
}

#[test]
fn ways_to_another_name_lead_around_a_literal_rule_and_not_around_base() -> Result<()> {
    let ways = ["B01", "B03", "B16", "B20", "B26", "B28", "B29", "S3", "S14", "S17"];
    let medium = Medium::Overlay1;
    let matrix = matrix(&ways, medium, User::Root)?;
    expect(&matrix, "none", medium, &ways)?;
    expect(
        &matrix,
        "literal",
        medium,
        &["B01", "B03", "B16", "B26", "B28", "B29", "S3", "S14", "S17"],
    )?;
    expect(&matrix, "base", medium, &["B28", "B29"])
}

#[test]
fn what_a_user_could_not_do_anyway_is_no_denial() -> Result<()> {
    let (ways, medium) = (["B01", "B04", "B17", "B32"], Medium::Tmpfs);
    let matrix = matrix(&ways, medium, User::Ordinary)?;
    expect(&matrix, "none", medium, &["B04", "B17", "B32"])?;
    expect(&matrix, "literal", medium, &["B17"])?;
    let renamed = Entry::find("B01").context("B01")?;
    let cell = matrix.cell(renamed, column("base")?, medium);
    ensure!(cell == Cell::Impossible("rename: EACCES".into()), "{cell:?}");
    Ok(())
}
