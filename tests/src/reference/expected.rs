// SPDX-License-Identifier: Apache-2.0
//! What reference enforcers have to reproduce: `reference-enforcers/expected.toml` as a table.
//!
//! In: that file. Out: the [`Cell`] of a way and a column, if it was measured. What came out of a
//! run is not known here.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

/// The columns, by their names in the file and for the program's `--column`.
pub const COLUMNS: [&str; 5] = ["P", "P'", "K", "K2", "K+"];

/// What came of a way under the rules of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// The blocked program ran.
    Ran,
    /// A step was denied.
    Denied,
}

/// All cells.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    ways: BTreeMap<String, Row>,
    more: BTreeMap<String, Row>,
    #[serde(default)]
    explained: Vec<Explained>,
}

/// Columns under which a way led to its end, and those that denied it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    ran: Vec<String>,
    denied: Vec<String>,
}

/// Cells that come out otherwise on some roots, as a run has shown, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explained {
    columns: Vec<String>,
    roots: Vec<String>,
    ways: Vec<String>,
    because: String,
}

/// Why the file is no table.
#[derive(Debug, Error)]
pub enum InvalidExpected {
    /// It is not written as it should be.
    #[error("the expected cells are not written as they should be")]
    Format(#[from] toml::de::Error),
    /// A row contradicts itself, or names something else.
    #[error("row {0} has a column twice, or one that is unknown")]
    Columns(String),
    /// Something is explained that was never measured.
    #[error("{0} under {1} is explained and has no cell")]
    Explained(String, String),
}

// === impl Expected ===

impl Expected {
    /// Those of this repository.
    ///
    /// # Errors
    /// If somebody wrote something else there.
    pub fn committed() -> Result<Self, InvalidExpected> {
        Self::parse(include_str!("../../reference-enforcers/expected.toml"))
    }

    fn parse(text: &str) -> Result<Self, InvalidExpected> {
        let expected: Self = toml::from_str(text)?;
        for (way, row) in expected.ways.iter().chain(&expected.more) {
            let mut columns: Vec<_> = row.ran.iter().chain(&row.denied).collect();
            columns.sort_unstable();
            let twice = columns.windows(2).any(|pair| pair[0] == pair[1]);
            if twice || !columns.iter().all(|column| COLUMNS.contains(&column.as_str())) {
                return Err(InvalidExpected::Columns(way.clone()));
            }
        }
        for Explained { ways, columns, .. } in &expected.explained {
            let cells = ways.iter().flat_map(|way| columns.iter().map(move |column| (way, column)));
            let mut unknown = cells.filter(|(way, column)| expected.cell(way, column).is_none());
            if let Some((way, column)) = unknown.next() {
                return Err(InvalidExpected::Explained(way.clone(), column.clone()));
            }
        }
        Ok(expected)
    }

    /// What has to come of a way, by its id; none if that was never measured.
    #[must_use]
    pub fn cell(&self, way: &str, column: &str) -> Option<Cell> {
        let row = self.ways.get(way).or_else(|| self.more.get(way))?;
        let has = |columns: &[String]| columns.iter().any(|other| other == column);
        match (has(&row.ran), has(&row.denied)) {
            (true, _) => Some(Cell::Ran),
            (false, true) => Some(Cell::Denied),
            (false, false) => None,
        }
    }

    /// Why a cell comes out otherwise on a root, if that is known.
    #[must_use]
    pub fn explained(&self, way: &str, column: &str, root: &str) -> Option<&str> {
        let has = |names: &[String], name: &str| names.iter().any(|other| other == name);
        let found = self.explained.iter().find(|explained| {
            has(&explained.ways, way)
                && has(&explained.columns, column)
                && has(&explained.roots, root)
        });
        found.map(|explained| explained.because.as_str())
    }

    /// Ids of the ways that a column has a cell of: those of the 37, and those beyond.
    #[must_use]
    pub fn ways(&self, column: &str) -> [Vec<&str>; 2] {
        [&self.ways, &self.more].map(|rows| {
            let ids = rows.keys().map(String::as_str);
            ids.filter(|way| self.cell(way, column).is_some()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_as_many_cells_as_were_measured() {
        let expected = Expected::committed().unwrap();
        let counts = COLUMNS.map(|column| {
            expected.ways(column).map(|ways| {
                let ran = |way: &&&str| expected.cell(way, column) == Some(Cell::Ran);
                (ways.iter().filter(ran).count(), ways.len())
            })
        });
        let ways = counts.map(|[ways, _]| ways);
        assert_eq!(ways, [(32, 37), (31, 37), (16, 37), (19, 37), (5, 37)]);
        assert_eq!(counts.map(|[_, more]| more), [(5, 6), (0, 0), (3, 7), (0, 0), (3, 7)]);
        assert_eq!(expected.cell("B15", "P'"), Some(Cell::Ran));
        assert_eq!(expected.cell("S2", "P"), None);
        assert_eq!(expected.cell("B38", "P"), None);
    }

    #[test]
    fn an_explanation_is_of_a_cell_and_a_root() {
        let expected = Expected::committed().unwrap();
        assert!(expected.explained("B09", "K", "overlay1").is_some());
        assert_eq!(expected.explained("B09", "K", "tmpfs"), None);
        assert_eq!(expected.explained("B09", "P", "overlay1"), None);
        let text = "more = {}\nways = {}\n[[explained]]\ncolumns = ['P']\nroots = []\n\
                    ways = ['B01']\nbecause = ''";
        assert!(matches!(Expected::parse(text), Err(InvalidExpected::Explained(..))));
    }

    #[test]
    fn a_row_that_contradicts_itself_is_refused() {
        for row in ["ran = ['P'], denied = ['P']", "ran = ['P', 'P'], denied = []"] {
            let text = format!("more = {{}}\n[ways]\nB01 = {{ {row} }}\n");
            assert!(matches!(Expected::parse(&text), Err(InvalidExpected::Columns(_))), "{row}");
        }
        let text = "more = {}\nways = { B01 = { ran = ['H'], denied = [] } }";
        assert!(matches!(Expected::parse(text), Err(InvalidExpected::Columns(_))));
        assert!(matches!(Expected::parse("ways = {}"), Err(InvalidExpected::Format(_))));
    }
}
