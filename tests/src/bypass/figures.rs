// SPDX-License-Identifier: Apache-2.0
//! Figures of the matrix, by the worst root.

use attacks::catalogue::{Entry, Set};

use super::{Cell, Column, Matrix};
use crate::bench::{Figure, Report};

/// What everybody tries first; rules as written have to let it through, or there is nothing to
/// compare hardened ones with.
const PLAIN: [&str; 3] = ["B01", "B02", "B03"];

/// Adds all figures, and what could not be had.
pub(super) fn add(matrix: &Matrix, report: &mut Report) {
    for column in matrix.columns.iter().copied().filter(|column| !column.is_empty()) {
        for (reason, roots) in matrix.unavailable(column) {
            report.not_measured(format!("column {column} on {}: {reason}", roots.join(", ")));
        }
        for &medium in &matrix.media {
            for entry in &matrix.entries {
                if let Cell::Unclear(reason) = matrix.cell(entry, column, medium) {
                    let id = entry.id;
                    report.not_measured(format!("{id}, {column}, {medium}: {reason}"));
                }
            }
        }
        for (name, set) in [("controls", Set::Control), ("ways", Set::Ways), ("more", Set::More)] {
            add_worst(report, (name, column), |medium| matrix.ran(set, column, medium), matrix);
        }
        let own = |medium| {
            let ran = matrix.ran(Set::More, column, medium)?;
            let foreign = |id: &&str| Entry::find(id).is_some_and(|entry| entry.foreign);
            Some(ran.into_iter().filter(|id| !foreign(id)).collect())
        };
        add_worst(report, ("more_from_target", column), own, matrix);
    }
    if let Some(literal) = matrix.columns.iter().find(|column| column.name == "literal") {
        let refused = |medium| {
            let refused = |entry: &&&Entry| {
                PLAIN.contains(&entry.id)
                    && matches!(matrix.cell(entry, literal, medium), Cell::Denied(_))
            };
            matrix.ran(Set::Ways, literal, medium)?;
            Some(matrix.entries.iter().filter(refused).map(|entry| entry.id).collect())
        };
        add_worst(report, ("plain_refused", literal), refused, matrix);
    }
}

/// The most of any root, if there is a count for every one.
fn add_worst(
    report: &mut Report,
    (name, column): (&str, &Column),
    ids: impl Fn(crate::rootfs::Medium) -> Option<Vec<&'static str>>,
    matrix: &Matrix,
) {
    let counts = matrix.media.iter().map(|&medium| ids(medium).map(|ids| (ids, medium)));
    let Some(counts) = counts.collect::<Option<Vec<_>>>() else { return };
    let Some((worst, medium)) = counts.into_iter().rev().max_by_key(|(ids, _)| ids.len()) else {
        return;
    };
    let figure = Figure::new(&format!("{name}.{column}"), worst.len() as f64, "");
    let note =
        if worst.is_empty() { String::new() } else { format!("{medium}: {}", worst.join(" ")) };
    report.add(figure.note(note));
}

#[cfg(test)]
mod tests {
    use super::super::matrix::tests::matrix;
    use super::*;
    use crate::bench::Targets;

    #[test]
    fn a_column_has_a_figure_only_if_every_root_has_a_count() {
        let mut matrix = matrix();
        let mut report = Report::new("bypass", Targets::of("bypass").unwrap());
        add(&matrix, &mut report);
        assert!(!report.is_complete(), "B22 is unclear on one root, and a column is not there");
        assert!(report.table(false).contains("controls.base"), "they are clear on both");
        assert!(!report.table(false).contains("ways.base"));
        matrix.media.truncate(1);
        let mut report = Report::new("bypass", Targets::of("bypass").unwrap());
        add(&matrix, &mut report);
        let line = report.table(false);
        let line = line.lines().find(|line| line.starts_with("ways.base")).unwrap();
        assert!(
            line.ends_with("tmpfs: B28") && line.contains(" 14 ") && line.contains("yes"),
            "{line}"
        );
    }
}
