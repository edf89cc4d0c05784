// SPDX-License-Identifier: Apache-2.0
//! What came of every way under every column on every root, and what a cell of it means.

use std::collections::BTreeMap;

use attacks::catalogue::{Entry, Set};
use attacks::report::{Outcome as Led, Report as Gone};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::{Column, Outcome};
use crate::rootfs::Medium;

/// All cells, as far as they were tried.
#[derive(Debug)]
pub struct Matrix {
    pub(super) entries: Vec<&'static Entry>,
    pub(super) columns: Vec<&'static Column>,
    pub(super) media: Vec<Medium>,
    gone: BTreeMap<(&'static str, Medium), Outcome>,
}

/// What a way under a column on a root comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "cell", content = "reason")]
pub enum Cell {
    /// The target ran.
    Ran,
    /// A step was denied; it was not without rules.
    Denied(String),
    /// The way does not lead to the target without rules either.
    Impossible(String),
    /// It failed in a way that is no denial, though without rules it led to the target.
    Unclear(String),
    /// Nothing is known.
    Unknown(String),
}

/// A cell and where it stands.
#[derive(Debug, Serialize)]
struct Placed<'a> {
    way: &'a str,
    name: &'a str,
    column: &'a str,
    root: &'a str,
    #[serde(flatten)]
    cell: Cell,
}

// === impl Matrix ===

impl Matrix {
    pub(super) fn new(
        entries: Vec<&'static Entry>,
        columns: Vec<&'static Column>,
        media: Vec<Medium>,
    ) -> Self {
        Self { entries, columns, media, gone: BTreeMap::new() }
    }

    pub(super) fn put(&mut self, column: &'static str, medium: Medium, outcome: Outcome) {
        self.gone.insert((column, medium), outcome);
    }

    /// A cell.
    #[must_use]
    pub fn cell(&self, entry: &Entry, column: &Column, medium: Medium) -> Cell {
        let tried = |column| self.led(entry, column, medium);
        match (tried(Column::none()), tried(column)) {
            (Err(reason), _) | (_, Err(reason)) => Cell::Unknown(reason),
            (Ok(Led::Denied(stop) | Led::Failed(stop)), _) => Cell::Impossible(stop.to_string()),
            (_, Ok(Led::Ran)) => Cell::Ran,
            (_, Ok(Led::Denied(stop))) => Cell::Denied(stop.to_string()),
            (_, Ok(Led::Failed(stop))) => Cell::Unclear(stop.to_string()),
        }
    }

    fn led(&self, entry: &Entry, column: &Column, medium: Medium) -> Result<&Led, String> {
        let gone: &Vec<Gone> = match self.gone.get(&(column.name, medium)) {
            None => return Err("the root could not be had".into()),
            Some(outcome) => outcome.as_ref().map_err(Clone::clone)?,
        };
        let report = gone.iter().find(|report| report.way == entry.id);
        report.map(|report| &report.outcome).ok_or_else(|| "it was not tried".into())
    }

    /// Why a column cannot be had, with the roots of which that is said.
    pub(super) fn unavailable(&self, column: &Column) -> BTreeMap<&str, Vec<&'static str>> {
        let mut reasons = BTreeMap::<_, Vec<_>>::new();
        for medium in &self.media {
            if let Some(Err(reason)) = self.gone.get(&(column.name, *medium)) {
                reasons.entry(reason.as_str()).or_default().push(medium.name());
            }
        }
        reasons
    }

    /// Ids of the ways of a set that ran, if every one of them was tried.
    #[must_use]
    pub fn ran(&self, set: Set, column: &Column, medium: Medium) -> Option<Vec<&'static str>> {
        let mut ran = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.set == set) {
            match self.cell(entry, column, medium) {
                Cell::Ran => ran.push(entry.id),
                Cell::Denied(_) | Cell::Impossible(_) => {}
                Cell::Unclear(_) | Cell::Unknown(_) => return None,
            }
        }
        Some(ran)
    }
}

impl Serialize for Matrix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cells = serializer.serialize_seq(None)?;
        for entry in &self.entries {
            for column in &self.columns {
                for &medium in &self.media {
                    cells.serialize_element(&Placed {
                        way: entry.id,
                        name: entry.name,
                        column: column.name,
                        root: medium.name(),
                        cell: self.cell(entry, column, medium),
                    })?;
                }
            }
        }
        cells.end()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use attacks::catalogue::ALL;
    use attacks::report::Stop;
    use serde_json::json;

    use super::*;

    pub(in super::super) fn column(name: &str) -> &'static Column {
        name.parse().unwrap()
    }

    fn stop(step: &str, reason: &str) -> Stop {
        Stop { step: step.into(), reason: reason.into() }
    }

    pub(in super::super) fn gone(led: impl Fn(&Entry) -> Led) -> Outcome {
        let report = |entry: &Entry| Gone {
            way: entry.id.into(),
            outcome: led(entry),
            steps: vec![],
            left: vec![],
        };
        Ok(ALL.iter().map(report).collect())
    }

    /// On tmpfs everything runs without rules, on the overlay not B05; `base` denies all but B28,
    /// and B22 fails strangely on the overlay; `sealed` cannot be had.
    pub(in super::super) fn matrix() -> Matrix {
        let columns = ["none", "base", "sealed"].map(column);
        let media = vec![Medium::Tmpfs, Medium::Overlay1];
        let mut matrix = Matrix::new(ALL.iter().collect(), columns.into(), media);
        matrix.put("none", Medium::Tmpfs, gone(|_| Led::Ran));
        let base = |entry: &Entry| match entry.id {
            "B28" => Led::Ran,
            _ => Led::Denied(stop("exec", "EACCES")),
        };
        matrix.put("base", Medium::Tmpfs, gone(base));
        matrix.put(
            "none",
            Medium::Overlay1,
            gone(|entry| match entry.id {
                "B05" => Led::Failed(stop("rename", "EXDEV")),
                _ => Led::Ran,
            }),
        );
        matrix.put(
            "base",
            Medium::Overlay1,
            gone(|entry| match entry.id {
                "B22" => Led::Failed(stop("open_by_handle_at", "ESTALE")),
                _ => base(entry),
            }),
        );
        for medium in [Medium::Tmpfs, Medium::Overlay1] {
            matrix.put("sealed", medium, Err("not built".into()));
        }
        matrix
    }

    #[test]
    fn a_denial_counts_only_where_the_way_leads_to_the_target_without_rules() {
        let matrix = matrix();
        let cell = |id, name, medium| matrix.cell(Entry::find(id).unwrap(), column(name), medium);
        assert_eq!(cell("B05", "base", Medium::Tmpfs), Cell::Denied("exec: EACCES".into()));
        let impossible = Cell::Impossible("rename: EXDEV".into());
        assert_eq!(cell("B05", "base", Medium::Overlay1), impossible);
        assert_eq!(cell("B05", "none", Medium::Overlay1), impossible);
        assert_eq!(cell("B28", "base", Medium::Tmpfs), Cell::Ran);
        assert!(matches!(cell("B22", "base", Medium::Overlay1), Cell::Unclear(_)));
        assert_eq!(cell("B01", "sealed", Medium::Tmpfs), Cell::Unknown("not built".into()));
        assert!(matches!(cell("B01", "base", Medium::Ext4), Cell::Unknown(_)));
    }

    #[test]
    fn a_count_exists_only_if_every_way_is_clear() {
        let matrix = matrix();
        let ran = |name, medium| matrix.ran(Set::Ways, column(name), medium);
        assert_eq!(ran("base", Medium::Tmpfs), Some(vec!["B28"]));
        assert_eq!(ran("base", Medium::Overlay1), None, "B22 is unclear");
        assert_eq!(ran("none", Medium::Overlay1).map(|ran| ran.len()), Some(36));
        assert_eq!(ran("sealed", Medium::Tmpfs), None);
        let unavailable = BTreeMap::from([("not built", vec!["tmpfs", "overlay1"])]);
        assert_eq!(matrix.unavailable(column("sealed")), unavailable);
    }

    #[test]
    fn cells_are_written_with_their_place_and_reason() {
        let cells = serde_json::to_value(matrix()).unwrap();
        let denied = json!({"way": "B01", "name": "mv-file", "column": "base", "root": "tmpfs",
                            "cell": "denied", "reason": "exec: EACCES"});
        assert!(cells.as_array().unwrap().contains(&denied));
        assert_eq!(cells.as_array().unwrap().len(), ALL.len() * 3 * 2);
    }
}
