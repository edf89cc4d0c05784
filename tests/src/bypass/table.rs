// SPDX-License-Identifier: Apache-2.0
//! The matrix for people: a row for each way, a group of columns for each set of rules, in it a sign
//! for each root; below it what is not plain.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use attacks::catalogue::{Entry, Set};

use super::{Cell, Column, Matrix, reproduced};
use crate::rootfs::Medium;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Widths of the ids and names of ways.
const HEAD: usize = 4 + 1 + 22;

/// What is said of ways, with the ways that it is said of.
pub(super) type Remarks = BTreeMap<String, Vec<String>>;

impl Matrix {
    /// The table, with colours if wanted.
    #[must_use]
    pub fn table(&self, colours: bool) -> String {
        let roots = self.media.iter().map(|medium| medium.name()).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "x the target ran, . denied, - impossible without rules too, ? failed otherwise, \
             blank: not available\nroots in each group: {roots}\n\n{:<HEAD$}",
            "way"
        );
        for column in &self.columns {
            let _ = write!(text, "  {column:<width$}", width = self.width(column));
        }
        text.push('\n');
        for set in [Set::Control, Set::Ways, Set::More] {
            self.add_rows(&mut text, set, colours);
        }
        text.push('\n');
        for (remark, ways) in self.remarks() {
            let _ = writeln!(text, "{remark}: {}", ways.join(", "));
        }
        text
    }

    /// Of a group: it holds a sign or a number for each root.
    fn width(&self, column: &Column) -> usize {
        column.name.len().max(self.media.len() * 3 - 1)
    }

    fn add_rows(&self, text: &mut String, set: Set, colours: bool) {
        let entries: Vec<_> = self.entries.iter().filter(|entry| entry.set == set).collect();
        for entry in &entries {
            let _ = write!(text, "{:<4} {:<22}", entry.id, entry.name);
            self.add_groups(text, |column, medium| {
                let (sign, colour) = sign(&self.cell(entry, column, medium));
                let sign = format!("{sign:>2}");
                if colours && !colour.is_empty() { format!("{colour}{sign}{RESET}") } else { sign }
            });
        }
        if entries.len() > 1 && set != Set::Control {
            let _ = write!(text, "{:<HEAD$}", format!("ran, of {}", entries.len()));
            self.add_groups(text, |column, medium| {
                let ran = self.ran(set, column, medium).map(|ran| ran.len().to_string());
                format!("{:>2}", ran.unwrap_or_default())
            });
        }
    }

    /// The rest of a row.
    fn add_groups(&self, text: &mut String, cell: impl Fn(&Column, Medium) -> String) {
        let mut row = String::new();
        for column in &self.columns {
            let cells: Vec<_> = self.media.iter().map(|&medium| cell(column, medium)).collect();
            let pad = self.width(column) - (self.media.len() * 3 - 1);
            let _ = write!(row, "  {}{:pad$}", cells.join(" "), "");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }

    /// Why cells are as they are, where that is not plain.
    fn remarks(&self) -> Remarks {
        let mut remarks = Remarks::new();
        for column in &self.columns {
            for &medium in &self.media {
                for entry in &self.entries {
                    self.add_remark(&mut remarks, (entry, column, medium));
                }
            }
        }
        reproduced::remark(self, &mut remarks);
        remarks
    }

    fn add_remark(
        &self,
        remarks: &mut Remarks,
        (entry, column, medium): (&Entry, &Column, Medium),
    ) {
        match self.cell(entry, column, medium) {
            Cell::Impossible(reason) if column.is_empty() => {
                let remark = format!("impossible on {medium}, {reason}");
                remarks.entry(remark).or_default().push(entry.id.into());
            }
            Cell::Unclear(reason) => {
                let remark = format!("failed otherwise on {medium} under {column}, {reason}");
                remarks.entry(remark).or_default().push(entry.id.into());
            }
            _ => {}
        }
    }
}

fn sign(cell: &Cell) -> (char, &'static str) {
    match cell {
        Cell::Ran => ('x', RED),
        Cell::Denied(_) => ('.', GREEN),
        Cell::Impossible(_) => ('-', DIM),
        Cell::Unclear(_) => ('?', YELLOW),
        Cell::Unknown(_) => (' ', ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::tests::matrix;

    #[test]
    fn rows_have_a_sign_for_each_column_and_root() {
        let text = matrix().table(false);
        let row = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
        assert_eq!(row("B05"), "B05  mv-parent                x  -   .  -");
        assert_eq!(row("B28"), "B28  byo-copy                 x  x   x  x");
        assert_eq!(row("B22"), "B22  file-handle              x  x   .  ?");
        assert_eq!(row("ran, of 37"), "ran, of 37                   37 36   1");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn what_is_not_plain_is_explained_below() {
        let text = matrix().table(true);
        for remark in [
            "\nimpossible on overlay1, rename: EXDEV: B05\n",
            "\nfailed otherwise on overlay1 under base, open_by_handle_at: ESTALE: B22\n",
            "\x1b[31m x\x1b[0m",
        ] {
            assert!(text.contains(remark), "{remark:?} in {text}");
        }
    }
}
