// SPDX-License-Identifier: Apache-2.0
//! Figures as a table for people and as JSON for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{fs, thread};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::step::{say, step};
use crate::vm::Vm;

use super::targets::Targets;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Words joined by dots, from the general to the special.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit; empty for a ratio or a count.
    pub unit: &'static str,
    /// What it may be at most.
    pub target: Option<f64>,
    /// Whether it is at most that.
    pub met: Option<bool>,
    /// If it is not: what was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<String>,
    /// How it came about, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What is not told from zero.
    #[serde(skip)]
    pub(super) noise: Option<f64>,
}

/// All figures of a suite.
#[derive(Debug, Serialize)]
pub struct Report {
    suite: &'static str,
    conditions: Vec<String>,
    figures: Vec<Figure>,
    /// Parts that yielded nothing, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_measured: Vec<String>,
    #[serde(skip)]
    targets: Targets,
}

// === impl Figure ===

impl Figure {
    /// A figure without a target.
    pub(crate) fn new(name: &str, value: f64, unit: &'static str) -> Self {
        let (name, note) = (name.to_owned(), String::new());
        Self { name, value, unit, target: None, met: None, tried: None, note, noise: None }
    }

    /// Says how it came about.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Says what is not told from zero.
    pub(super) fn noise(mut self, noise: f64) -> Self {
        self.noise = Some(noise);
        self
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn new(suite: &'static str, targets: Targets) -> Self {
        let (conditions, figures, not_measured) = Default::default();
        Self { suite, conditions, figures, not_measured, targets }
    }

    /// Takes some of the figures; if that fails, those it has taken stay.
    pub(crate) fn part(&mut self, title: &str, measure: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = step(title, |_| measure(self)) {
            say(&format!("error: {error:#}"));
            self.not_measured.push(format!("{error:#}"));
        }
    }

    /// Adds a figure, and compares it.
    pub(crate) fn add(&mut self, mut figure: Figure) {
        figure.target = self.targets.bound(&figure);
        figure.met = figure.target.map(|target| figure.value <= target);
        if figure.met == Some(false) {
            figure.tried = self.targets.tried(&figure.name).map(str::to_owned);
        }
        self.figures.push(figure);
    }

    /// Once all figures were taken: a target without one is a name that nothing has any more.
    pub(crate) fn expect_all_targets(&mut self) {
        let taken = |name: &&str| self.figures.iter().any(|figure| figure.name == **name);
        let missing: Vec<_> = self.targets.names().filter(|name| !taken(name)).collect();
        let missing = missing.into_iter().map(|name| format!("{name}: it has a target, no value"));
        self.not_measured.extend(missing.collect::<Vec<_>>());
    }

    /// Adds why something could not be measured.
    pub(crate) fn not_measured(&mut self, reason: String) {
        self.not_measured.push(reason);
    }

    /// Adds what figures depend on, unless somebody did.
    pub(crate) fn condition_once(&mut self, condition: &str) {
        if !self.conditions.iter().any(|known| known == condition) {
            self.condition(condition);
        }
    }

    /// Adds what figures depend on.
    pub(super) fn condition(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// Adds on which kernel a part was measured.
    pub(super) fn condition_of_guest(&mut self, vm: &Vm) -> Result<()> {
        let release = vm.must(&["uname", "-r"])?;
        self.condition_once(&format!("Linux {} under QEMU, TCG, no KVM", release.trim()));
        Ok(())
    }

    /// Adds how busy this host is: times on a busy one say little.
    pub(crate) fn condition_of_host(&mut self, part: &str) -> Result<()> {
        let load = fs::read_to_string("/proc/loadavg").context("read the load")?;
        let load = load.split(' ').next().unwrap_or_default();
        let processors = thread::available_parallelism().context("count processors")?;
        self.condition(format!("{part}: {processors} processors, load {load} when it began"));
        Ok(())
    }

    /// Whether no target was missed.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.figures.iter().all(|figure| figure.met != Some(false))
    }

    /// Whether everything was measured that was asked for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_measured.is_empty() && !self.figures.is_empty()
    }

    /// A table, with colours if wanted.
    #[must_use]
    pub fn table(&self, colours: bool) -> String {
        let mut text = String::new();
        for condition in &self.conditions {
            let _ = writeln!(text, "{condition}");
        }
        let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "\n{:<width$}  {:>12} {:<12} {:>9}  met",
            "figure", "value", "unit", "target"
        );
        for figure in &self.figures {
            let _ = writeln!(text, "{}", row(figure, width, colours));
        }
        for (tried, names) in self.missed() {
            let _ = writeln!(text, "\nmissed: {}\n  {tried}", names.join(", "));
        }
        for reason in &self.not_measured {
            let _ = writeln!(text, "not measured: {reason}");
        }
        text + &self.summary()
    }

    /// What was tried, each with the figures that it did not suffice for.
    fn missed(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut missed = BTreeMap::<_, Vec<_>>::new();
        for figure in self.figures.iter().filter(|figure| figure.met == Some(false)) {
            let tried = figure.tried.as_deref().unwrap_or("nothing is known of why");
            missed.entry(tried).or_default().push(figure.name.as_str());
        }
        missed
    }

    fn summary(&self) -> String {
        let judged = self.figures.iter().filter_map(|figure| figure.met);
        let (met, missed) =
            judged.fold(
                (0, 0),
                |(met, missed), is_met| {
                    if is_met { (met + 1, missed) } else { (met, missed + 1) }
                },
            );
        format!("{} figures: {met} targets met, {missed} missed", self.figures.len())
    }
}

fn row(figure: &Figure, width: usize, colours: bool) -> String {
    let (word, colour) = match figure.met {
        Some(true) => ("yes", GREEN),
        Some(false) => ("NO", RED),
        None => ("", ""),
    };
    let target = figure.target.map(|target| number(target, figure.unit)).unwrap_or_default();
    let met = format!("{word:<4}");
    let met = if colours && !colour.is_empty() { format!("{colour}{met}{RESET}") } else { met };
    let value = number(figure.value, figure.unit);
    let row = format!(
        "{:<width$}  {value:>12} {:<12} {target:>9}  {met} {}",
        figure.name, figure.unit, figure.note
    );
    row.trim_end().to_owned()
}

/// As many digits as mean something, thousands apart.
fn number(value: f64, unit: &str) -> String {
    let digits = match unit {
        "" if value.fract() != 0.0 => 4,
        "instructions" | "" => 0,
        _ => 2,
    };
    let text = format!("{:.digits$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    let is_zero = text.chars().all(|digit| "0.".contains(digit));
    format!("{}{grouped}{point}{fraction}", if value < 0.0 && !is_zero { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("quick", Targets::of("quick").unwrap());
        report.add(Figure::new("agent.binary", 5.5, "MiB").note("release"));
        report.add(Figure::new("open.rules10000.depth3.ratio", 1.0512, ""));
        report.add(Figure::new("open.rules10000.depth3.added", 1234.4, "instructions"));
        report
    }

    #[test]
    fn figures_with_targets_are_judged_and_others_are_not() {
        let report = report();
        let met: Vec<_> = report.figures.iter().map(|figure| figure.met).collect();
        assert_eq!(met, [Some(true), Some(false), None]);
        assert!(!report.is_met() && report.is_complete());
        assert!(report.summary().ends_with("1 targets met, 1 missed"));
    }

    #[test]
    fn a_target_without_a_figure_leaves_the_report_incomplete() {
        let mut report = report();
        report.expect_all_targets();
        assert!(!report.is_complete());
        assert!(report.table(false).contains("not measured: agent.rss: it has a target"));
        assert!(!report.table(false).contains("not measured: agent.binary"));
    }

    #[test]
    fn the_table_has_colours_only_where_they_are_wanted() {
        assert!(!report().table(false).contains('\x1b'));
        assert!(report().table(true).contains("\x1b[31mNO"));
    }

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["suite"], "quick");
        let figure = &json["figures"][1];
        assert_eq!(figure["name"], "open.rules10000.depth3.ratio");
        assert_eq!((figure["target"].as_f64(), &figure["met"]), (Some(1.04), &false.into()));
        assert!(json["figures"][2]["target"].is_null());
    }

    #[test]
    fn numbers_are_grouped_and_have_no_negative_zero() {
        assert_eq!(number(1_234_567.4, "instructions"), "1,234,567");
        assert_eq!(number(-0.2, "instructions"), "0");
        assert_eq!(number(-1234.0, "ms"), "-1,234.00");
        assert_eq!(number(1.04, ""), "1.0400");
    }
}
