// SPDX-License-Identifier: Apache-2.0
//! The committed table: what workloads do, and what levels are known to cost them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::{Denial, Level, Policies, Under};
use crate::rootfs::Medium;

const FILE: &str = include_str!("../../workloads/workloads.toml");

/// The whole file, or some workloads of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Script of a container's first process.
    pub(super) entrypoint: String,
    #[serde(rename = "workload")]
    pub(super) workloads: Vec<Workload>,
}

/// One kind of work.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    /// Its name.
    pub(super) name: String,
    /// What it does, for people.
    pub(super) about: String,
    #[serde(rename = "step")]
    pub(super) steps: Vec<Step>,
    #[serde(default)]
    pub(super) expected: Vec<Expected>,
}

/// A part of a workload.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) name: String,
    /// What runs in the container.
    #[serde(default)]
    pub(super) run: Option<String>,
    /// Whether the container is started anew instead.
    #[serde(default)]
    pub(super) restart: bool,
}

/// A known cost.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    /// Where it occurs.
    levels: Vec<Level>,
    /// Everywhere if it does not say.
    policies: Option<Vec<Policies>>,
    /// Everywhere if it does not say.
    roots: Option<Vec<Medium>>,
    /// Step that fails.
    pub(super) fails: Option<String>,
    /// What its denials are about; `*` at the end stands for any characters.
    #[serde(default)]
    pub(super) paths: Vec<String>,
    /// Why the kernel denied: a primitive of hardening, else the reason of the event.
    #[serde(default)]
    pub(super) causes: Vec<String>,
    /// Why this is right.
    pub(super) why: String,
}

// === impl Table ===

impl Table {
    /// The committed one.
    ///
    /// # Errors
    /// If it makes no sense.
    pub(super) fn committed() -> Result<Self> {
        Self::read(FILE).context("workloads/workloads.toml")
    }

    fn read(text: &str) -> Result<Self> {
        let table: Self = toml::from_str(text)?;
        let mut names = BTreeSet::new();
        for workload in &table.workloads {
            ensure!(names.insert(&workload.name), "two workloads are called {}", workload.name);
            workload.check().with_context(|| workload.name.clone())?;
        }
        Ok(table)
    }

    /// These workloads of it; all if there are none.
    ///
    /// # Errors
    /// If it lacks one.
    pub(super) fn only(mut self, names: &[String]) -> Result<Self> {
        if let Some(unknown) = names.iter().find(|name| !self.names().any(|own| own == *name)) {
            bail!(
                "no workload is called {unknown}; there are {}",
                Vec::from_iter(self.names()).join(", ")
            );
        }
        self.workloads.retain(|workload| names.is_empty() || names.contains(&workload.name));
        Ok(self)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.workloads.iter().map(|workload| workload.name.as_str())
    }
}

// === impl Workload ===

impl Workload {
    fn check(&self) -> Result<()> {
        ensure!(!self.steps.is_empty(), "it has no steps");
        for step in &self.steps {
            ensure!(step.run.is_some() != step.restart, "{}: `run` or `restart`", step.name);
        }
        for expected in &self.expected {
            let fails = expected.fails.as_ref();
            let known = fails.is_none_or(|name| self.steps.iter().any(|step| step.name == *name));
            ensure!(known, "no step is called {fails:?}");
            let says = fails.is_some() || !expected.paths.is_empty();
            ensure!(says, "what is expected at {:?}?", expected.levels);
            ensure!(expected.paths.is_empty() == expected.causes.is_empty(), "paths and causes");
        }
        Ok(())
    }
}

// === impl Expected ===

impl Expected {
    /// Whether it is about this run.
    pub(super) fn concerns(&self, root: Medium, under: Under) -> bool {
        self.levels.contains(&under.level)
            && self.policies.as_ref().is_none_or(|sets| sets.contains(&under.policies))
            && self.roots.as_ref().is_none_or(|roots| roots.contains(&root))
    }

    /// Whether it is about this denial.
    pub(super) fn explains(&self, denial: &Denial) -> bool {
        let like = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => denial.path.starts_with(start),
            None => denial.path == *pattern,
        };
        self.paths.iter().any(like) && self.causes.contains(&denial.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_is_understood() {
        let table = Table::committed().unwrap();
        assert!(table.workloads.len() > 10);
        assert!(table.clone().only(&["no-such-workload".into()]).is_err());
        assert_eq!(table.only(&["jit".into()]).unwrap().workloads.len(), 1);
    }

    #[test]
    fn a_cost_has_to_name_a_step_that_there_is() {
        let text = |fails: &str| {
            format!(
                "entrypoint = ''\n[[workload]]\nname = 'a'\nabout = ''\n\
                 step = [{{ name = 'one', run = 'true' }}]\n\
                 expected = [{{ levels = ['sealed'], fails = '{fails}', why = '' }}]"
            )
        };
        assert!(Table::read(&text("one")).is_ok());
        assert!(Table::read(&text("two")).is_err());
    }
}
