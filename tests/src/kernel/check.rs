// SPDX-License-Identifier: Apache-2.0
//! Does a kernel suffice for enforcement?
//!
//! In: the bytes of a configuration, and the needs. Out: a [`Report`] that says for each option
//! that is not as needed what breaks. Never: looks at a running kernel; what `lsm=` made of the
//! list of security modules is the agent's own check.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::config::Config;
use super::needs::{Level, Need};
use super::spec::ENFORCE;

pub use super::config::{InvalidConfig, Value};
pub use super::needs::{Expected, Needs};

/// What is to be said about a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Architecture and version from the configuration's head.
    pub kernel: Option<String>,
    /// Whether everything that is required is there.
    pub sufficient: bool,
    /// How many options were looked at.
    pub checked: usize,
    /// Options that are not as needed, and hints, in the fragment's order.
    pub findings: Vec<Finding>,
}

/// One option that needs a reader's attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// With its prefix, `CONFIG_BPF_LSM`.
    pub option: String,
    /// What the fragment asks for.
    pub expected: Expected,
    /// What the configuration has.
    pub found: Value,
    /// What follows.
    pub outcome: Outcome,
    /// What uses the option.
    pub why: String,
    /// What the operator sees when it is missing.
    pub without: String,
    /// What to look at besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The kernel does not suffice.
    Missing,
    /// It suffices, with a loss.
    Loss,
    /// It suffices if something holds that the configuration does not tell.
    Condition,
}

/// What the enforcement fragment of this checkout asks for.
pub fn needs() -> Result<Needs> {
    let path = Path::new(super::GUEST_KERNEL).join(ENFORCE);
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    Needs::parse(&text).with_context(|| format!("reading {}", path.display()))
}

/// Compares a `.config` or `/proc/config.gz` with the needs.
pub fn check(configuration: &[u8], needs: &Needs) -> Result<Report, InvalidConfig> {
    let config = Config::from_bytes(configuration)?;
    let judge = |need: &Need| Finding::of(need, config.get(&need.option));
    let findings: Vec<_> = needs.0.iter().filter_map(judge).collect();
    Ok(Report {
        kernel: config.title,
        sufficient: findings.iter().all(|finding| finding.outcome != Outcome::Missing),
        checked: needs.0.len(),
        findings,
    })
}

// === impl Finding ===

impl Finding {
    /// None if the option is as needed, and nothing else can spoil it.
    fn of(need: &Need, found: &Value) -> Option<Self> {
        let missing = match need.level {
            Level::Required => Outcome::Missing,
            Level::Advised => Outcome::Loss,
        };
        let (outcome, note) = match (&need.expected, found, &need.module) {
            (Expected::Item(item), found, _) => (Outcome::Condition, Some(list_note(item, found))),
            (Expected::Value(expected), found, _) if expected == found => return None,
            (_, Value::Module, Some(condition)) => {
                (Outcome::Condition, Some(format!("a module does if {condition}")))
            }
            (_, Value::Module, None) => (missing, Some("a module does not suffice".to_owned())),
            _ => (missing, None),
        };
        Some(Self {
            option: format!("CONFIG_{}", need.option),
            expected: need.expected.clone(),
            found: found.clone(),
            outcome,
            why: need.why.clone(),
            without: need.without.clone(),
            note,
        })
    }
}

/// The built-in list is a default only, whether it names the module or not.
fn list_note(wanted: &str, found: &Value) -> String {
    let named = matches!(found, Value::Text(list) if list.split(',').any(|item| item == wanted));
    let finding = if named { "has" } else { "lacks" };
    format!(
        "the built-in list {finding} {wanted}; `lsm=` on the kernel command line overrides it, \
         /sys/kernel/security/lsm tells"
    )
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (outcome, title) in [
            (Outcome::Missing, "missing"),
            (Outcome::Loss, "advised"),
            (Outcome::Condition, "look at"),
        ] {
            let mut findings = self.findings.iter().filter(|f| f.outcome == outcome).peekable();
            if findings.peek().is_some() {
                writeln!(f, "{title}:")?;
            }
            for finding in findings {
                finding.fmt(f)?;
            }
        }
        let kernel = self.kernel.as_deref().unwrap_or("kernel of unknown version");
        let verdict = if self.sufficient { "suffices" } else { "does not suffice" };
        write!(f, "{kernel} {verdict}: ")?;
        let count = |outcome| self.findings.iter().filter(|f| f.outcome == outcome).count();
        let (missing, loss) = (count(Outcome::Missing), count(Outcome::Loss));
        write!(f, "{} options checked, {missing} missing, {loss} with a loss", self.checked)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, expected, found, why, .. } = self;
        writeln!(f, "  {option}: expected {expected}, found {found}")?;
        writeln!(f, "    for      {why}")?;
        writeln!(f, "    without  {}", self.without)?;
        if let Some(note) = &self.note {
            writeln!(f, "    note     {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
