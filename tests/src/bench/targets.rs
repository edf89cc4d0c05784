// SPDX-License-Identifier: Apache-2.0
//! What figures have to reach: the committed file `benches/targets.toml`, and the comparison.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::report::Figure;

const FILE: &str = include_str!("../../benches/targets.toml");

/// The targets of one suite, by the names of figures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    targets: BTreeMap<String, Target>,
    /// What was tried, by the names that targets refer to.
    tried: BTreeMap<String, String>,
}

/// What one figure has to reach.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    /// At most this.
    max: Option<f64>,
    /// At most what the samples of the base differ by themselves.
    #[serde(default)]
    within_noise: bool,
    /// Why it is known to be missed: a name in the table `tried`.
    tried: Option<String>,
}

/// The whole file.
#[derive(Debug, Deserialize)]
struct File {
    tried: BTreeMap<String, String>,
    #[serde(flatten)]
    suites: BTreeMap<String, BTreeMap<String, Target>>,
}

// === impl Targets ===

impl Targets {
    /// Those of a suite.
    pub(crate) fn of(suite: &str) -> Result<Self> {
        let File { tried, mut suites } = toml::from_str(FILE).context("benches/targets.toml")?;
        let targets = suites.remove(suite).unwrap_or_default();
        let mut references = targets.values().filter_map(|target| target.tried.as_ref());
        if let Some(unknown) = references.find(|name| !tried.contains_key(*name)) {
            bail!("benches/targets.toml: nothing in `tried` is called `{unknown}`");
        }
        Ok(Self { targets, tried })
    }

    /// Names of the figures that have a target.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str)
    }

    /// Bound of a figure, if it has one.
    pub(super) fn bound(&self, figure: &Figure) -> Option<f64> {
        let target = self.targets.get(&figure.name)?;
        target.max.or(figure.noise.filter(|_| target.within_noise))
    }

    /// What was tried to reach it.
    pub(super) fn tried(&self, figure: &str) -> Option<&str> {
        let name = self.targets.get(figure)?.tried.as_ref()?;
        self.tried.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_understood() {
        let targets = Targets::of("quick").unwrap();
        let bound = |name: &str| targets.bound(&Figure::new(name, 3.0, "").noise(5.0));
        assert_eq!(bound("open.out_of_scope.depth3.ratio"), Some(1.025));
        assert_eq!(bound("exec.rules10000.added"), Some(5.0));
        assert_eq!(bound("boot.init"), None);
    }

    #[test]
    fn noise_bounds_a_figure_that_has_some() {
        let target = Target { within_noise: true, ..Target::default() };
        let targets = BTreeMap::from([("a".to_owned(), target)]);
        let targets = Targets { targets, ..Targets::default() };
        let figure = Figure::new("a", 3.0, "instructions");
        assert_eq!(targets.bound(&figure), None);
        assert_eq!(targets.bound(&figure.noise(5.0)), Some(5.0));
    }
}
