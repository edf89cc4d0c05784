// SPDX-License-Identifier: Apache-2.0
//! What figures have to reach: the committed file `benches/targets.toml`, and the comparison.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::report::Figure;

const FILE: &str = include_str!("../../benches/targets.toml");

/// The targets of one suite, by the names of figures.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets(BTreeMap<String, Target>);

/// What one figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    /// At most this.
    Max(f64),
    /// At most what the samples of the base differ by themselves.
    WithinNoise(bool),
}

// === impl Targets ===

impl Targets {
    /// Those of a suite.
    pub(super) fn of(suite: &str) -> Result<Self> {
        let mut suites: BTreeMap<String, BTreeMap<String, Target>> =
            toml::from_str(FILE).context("benches/targets.toml")?;
        Ok(Self(suites.remove(suite).unwrap_or_default()))
    }

    /// Names of the figures that have a target.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Bound of a figure, if it has one.
    pub(super) fn bound(&self, figure: &Figure) -> Option<f64> {
        match self.0.get(&figure.name)? {
            Target::Max(most) => Some(*most),
            Target::WithinNoise(true) => figure.noise,
            Target::WithinNoise(false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_understood() {
        let targets = Targets::of("quick").unwrap();
        assert_eq!(targets.0["open.out_of_scope.depth3.ratio"], Target::Max(1.025));
        assert_eq!(targets.0["exec.rules10000.added"], Target::WithinNoise(true));
    }

    #[test]
    fn noise_bounds_a_figure_that_has_some() {
        let targets = Targets(BTreeMap::from([("a".into(), Target::WithinNoise(true))]));
        let figure = Figure::new("a", 3.0, "instructions");
        assert_eq!(targets.bound(&figure), None);
        assert_eq!(targets.bound(&figure.noise(5.0)), Some(5.0));
    }
}
