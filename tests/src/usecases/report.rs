// SPDX-License-Identifier: Apache-2.0
//! What was expected and what was seen, as a table for people and as figures for machines: 1 as
//! expected, 0 not.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// One command under one set of rules.
#[derive(Clone, Debug)]
pub struct Row {
    /// Number of the use case and name of the rules, joined by a dot.
    pub name: String,
    /// What was typed.
    pub command: String,
    /// What had to be seen.
    pub expected: String,
    /// What was.
    pub seen: String,
    /// Whether that is the same.
    pub met: bool,
}

/// All rows.
#[derive(Debug)]
pub struct Report {
    conditions: Vec<String>,
    rows: Vec<Row>,
    /// Why there are no more.
    not_measured: Vec<String>,
}

#[derive(Serialize)]
struct Figure<'a> {
    name: &'a str,
    value: u8,
    unit: &'static str,
    target: u8,
    met: bool,
    command: &'a str,
    expected: &'a str,
    seen: &'a str,
}

// === impl Report ===

impl Report {
    pub(super) fn new(conditions: Vec<String>) -> Self {
        Self { conditions, rows: Vec::new(), not_measured: Vec::new() }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(super) fn end_early(&mut self, reason: String) {
        self.not_measured.push(reason);
    }

    /// Whether every line was typed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_measured.is_empty()
    }

    /// Whether everything was as expected.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.met)
    }

    /// A table, with colours if wanted.
    #[must_use]
    pub fn table(&self, colours: bool) -> String {
        let mut text = String::new();
        for condition in &self.conditions {
            let _ = writeln!(text, "{condition}");
        }
        for row in &self.rows {
            let (word, colour) = if row.met { ("ok", GREEN) } else { ("NO", RED) };
            let word = if colours { format!("{colour}{word}{RESET}") } else { word.to_owned() };
            let _ = writeln!(text, "\n{word}  {:<24}  $ {}", row.name, row.command);
            let _ = writeln!(text, "      expected  {}", row.expected);
            let _ = writeln!(text, "      seen      {}", row.seen);
        }
        let met = self.rows.iter().filter(|row| row.met).count();
        for reason in &self.not_measured {
            let _ = writeln!(text, "\nnot measured: {reason}");
        }
        text + &format!("\n{met} of {} as expected", self.rows.len())
    }

    /// The same for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: Vec<_> = self.rows.iter().map(Figure::of).collect();
        json!({
            "suite": "usecases",
            "conditions": self.conditions,
            "figures": figures,
            "not_measured": self.not_measured,
        })
    }
}

// === impl Figure ===

impl<'a> Figure<'a> {
    fn of(row: &'a Row) -> Self {
        let Row { name, command, expected, seen, met } = row;
        let value = u8::from(*met);
        Self { name, value, unit: "", target: 1, met: *met, command, expected, seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(met: bool) -> Report {
        let text = |text: &str| text.to_owned();
        let mut report = Report::new(vec![text("somewhere")]);
        let (name, command) = (text("ks-1.0.with"), text("apt update"));
        report.add(Row { name, command, expected: text("exit 126"), seen: text("exit 0"), met });
        report
    }

    #[test]
    fn what_was_not_expected_is_shown_beside_what_was() {
        let table = report(false).table(false);
        assert!(!report(false).is_met() && report(true).is_met());
        assert!(table.contains("NO  ks-1.0.with") && table.contains("expected  exit 126"));
        assert!(table.ends_with("0 of 1 as expected") && !table.contains('\x1b'));
        assert!(report(true).table(true).contains("\x1b[32mok"));
    }

    #[test]
    fn what_could_not_be_typed_is_named_below_what_was() {
        let mut report = report(true);
        assert!(report.is_complete());
        report.end_early("a reason".to_owned());
        assert!(!report.is_complete());
        assert!(report.table(false).contains("not measured: a reason\n\n1 of 1"));
    }

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let json = report(false).json();
        assert_eq!(json["suite"], "usecases");
        let figure = &json["figures"][0];
        assert_eq!((&figure["value"], &figure["target"]), (&0.into(), &1.into()));
        assert_eq!(figure["met"], false);
    }
}
