// SPDX-License-Identifier: Apache-2.0
//! How the columns of the reference enforcers compare with what was measured of the peers' logic.
//!
//! In: the matrix and the expected cells. Out: for each such column the number of cells that differ
//! and are not explained, and for the table each cell that differs, in the driver's own words. A way
//! that does not lead to the target on a root without rules differs from nothing there.

use anyhow::Result;
use attacks::catalogue::Set;

use super::table::Remarks;
use super::{Cell, Column, Matrix};
use crate::bench::{Figure, Report};
use crate::reference::{Cell as Measured, Expected};
use crate::rootfs::Medium;

/// A column on a root.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    /// Cells of the 37 ways that come out as measured, of all that can.
    ways: (usize, usize),
    /// Those beyond them.
    more: (usize, usize),
    /// Cells that come out otherwise.
    differing: Vec<Difference>,
}

#[derive(Debug, PartialEq, Eq)]
struct Difference {
    way: &'static str,
    /// What was measured and what came out.
    what: String,
    explained: Option<String>,
}

/// Adds a figure for each reference column that was tried on every root.
pub(super) fn add(matrix: &Matrix, report: &mut Report) -> Result<()> {
    let expected = Expected::committed()?;
    for column in references(matrix) {
        let roots = matrix.media.iter();
        let compared =
            roots.map(|&medium| Some((medium, compare(matrix, &expected, column, medium)?)));
        let Some(compared) = compared.collect::<Option<Vec<_>>>() else { continue };
        let unexplained = compared.iter().flat_map(|(_, comparison)| &comparison.differing);
        let unexplained = unexplained.filter(|difference| difference.explained.is_none()).count();
        let notes: Vec<_> = compared.iter().map(|(medium, found)| note(*medium, found)).collect();
        let figure = Figure::new(&format!("differs.{column}"), unexplained as f64, "cells");
        report.add(figure.note(format!("reproduced: {}", notes.join("; "))));
    }
    Ok(())
}

/// Adds what is said of the cells that differ.
pub(super) fn remark(matrix: &Matrix, remarks: &mut Remarks) {
    // The figures report it if the file is no table.
    let Ok(expected) = Expected::committed() else { return };
    for column in references(matrix) {
        for &medium in &matrix.media {
            let compared = compare(matrix, &expected, column, medium).unwrap_or_default();
            for Difference { way, what, explained } in compared.differing {
                let why = explained.map_or("not explained".into(), |why| format!("because {why}"));
                let remark = format!("{column} on {medium}, {what}, {why}");
                remarks.entry(remark).or_default().push(way.into());
            }
        }
    }
}

fn references(matrix: &Matrix) -> impl Iterator<Item = &'static Column> {
    matrix.columns.iter().copied().filter(|column| column.is_reference())
}

/// None if a cell of the column was not tried there.
fn compare(
    matrix: &Matrix,
    expected: &Expected,
    column: &Column,
    medium: Medium,
) -> Option<Comparison> {
    let mut found = Comparison::default();
    for entry in &matrix.entries {
        let Some(measured) = expected.cell(entry.id, column.name) else { continue };
        let what = match matrix.cell(entry, column, medium) {
            Cell::Impossible(_) => continue,
            Cell::Unknown(_) => return None,
            Cell::Ran => (measured != Measured::Ran).then(|| "runs, was denied".into()),
            Cell::Denied(at) => {
                (measured != Measured::Denied).then(|| format!("denied at {at}, did run"))
            }
            Cell::Unclear(at) => Some(format!("failed at {at}, {}", verb(measured))),
        };
        let (same, all) = if entry.set == Set::Ways { &mut found.ways } else { &mut found.more };
        *all += 1;
        match what {
            None => *same += 1,
            Some(what) => {
                let explained = expected.explained(entry.id, column.name, medium.name());
                let explained = explained.map(str::to_owned);
                found.differing.push(Difference { way: entry.id, what, explained });
            }
        }
    }
    Some(found)
}

fn verb(measured: Measured) -> &'static str {
    match measured {
        Measured::Ran => "did run",
        Measured::Denied => "was denied",
    }
}

fn note(medium: Medium, found: &Comparison) -> String {
    let mut note = format!("{medium} {}/{}", found.ways.0, found.ways.1);
    if found.more.1 > 0 {
        note += &format!(" and {}/{} more", found.more.0, found.more.1);
    }
    note
}

#[cfg(test)]
mod tests {
    use attacks::catalogue::{ALL, Entry};
    use attacks::report::{Outcome, Stop};

    use super::super::matrix::tests::{column, gone};
    use super::*;
    use crate::bench::Targets;

    /// K on tmpfs, as measured but for what is given here.
    fn matrix(otherwise: &[(&str, Outcome)]) -> Matrix {
        let expected = Expected::committed().unwrap();
        let led = |entry: &Entry| {
            let other = otherwise.iter().find(|(way, _)| *way == entry.id);
            match (other, expected.cell(entry.id, "K")) {
                (Some((_, outcome)), _) => outcome.clone(),
                (None, Some(Measured::Denied)) => denied(),
                (None, _) => Outcome::Ran,
            }
        };
        let columns = ["none", "K"].map(column).into();
        let mut matrix = Matrix::new(ALL.iter().collect(), columns, vec![Medium::Tmpfs]);
        let none = |entry: &Entry| if entry.id == "B22" { failed() } else { Outcome::Ran };
        matrix.put("none", Medium::Tmpfs, gone(none));
        matrix.put("K", Medium::Tmpfs, gone(led));
        matrix
    }

    fn denied() -> Outcome {
        Outcome::Denied(Stop { step: "exec".into(), reason: "EACCES".into() })
    }

    fn failed() -> Outcome {
        Outcome::Failed(Stop { step: "rename".into(), reason: "EXDEV".into() })
    }

    fn figure(matrix: &Matrix) -> String {
        let mut report = Report::new("bypass", Targets::of("bypass").unwrap());
        add(matrix, &mut report).unwrap();
        let table = report.table(false);
        table.lines().find(|line| line.starts_with("differs.K ")).unwrap_or_default().to_owned()
    }

    #[test]
    fn a_column_is_reproduced_if_every_cell_that_can_be_is_as_measured() {
        let same = figure(&matrix(&[]));
        assert!(same.contains(" yes") && same.ends_with("tmpfs 36/36 and 7/7 more"), "{same}");
        let differs = [("B01", Outcome::Ran), ("B05", denied()), ("S2", failed())];
        let matrix = matrix(&differs);
        let differs = figure(&matrix);
        assert!(differs.contains(" NO") && differs.ends_with("34/36 and 6/7 more"), "{differs}");
        let mut remarks = Remarks::new();
        remark(&matrix, &mut remarks);
        let texts = [
            "K on tmpfs, denied at exec: EACCES, did run, not explained",
            "K on tmpfs, failed at rename: EXDEV, did run, not explained",
            "K on tmpfs, runs, was denied, not explained",
        ];
        assert_eq!(remarks.keys().map(String::as_str).collect::<Vec<_>>(), texts);
    }
}
