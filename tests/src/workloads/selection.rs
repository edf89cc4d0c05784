// SPDX-License-Identifier: Apache-2.0
//! What workloads can be run on and under, by the names that people use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::rootfs::Medium;

/// A level of hardening, as an annotation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Rules as written.
    Literal,
    /// What is blocked is held by identity too.
    Base,
    /// Besides, what may not be executed may not be read.
    Contained,
    /// All that there is.
    Sealed,
}

/// A set of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policies {
    /// Some programs and files are blocked.
    Block,
    /// Besides, only what is listed may be executed or opened.
    Whitelist,
}

/// The rules of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Under {
    /// How they are hardened.
    pub level: Level,
    /// What they are.
    pub policies: Policies,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// On which roots.
    pub roots: Vec<Medium>,
    /// At which levels.
    pub levels: Vec<Level>,
    /// Under which policies.
    pub policies: Vec<Policies>,
    /// Only these workloads; all if there are none.
    pub only: Vec<String>,
}

/// A name that nothing has.
#[derive(Clone, Debug, thiserror::Error)]
#[error("nothing is called `{0}`")]
pub struct Unknown(String);

// === impl Level ===

impl Level {
    /// All of them, from the weakest.
    pub const ALL: [Self; 4] = [Self::Literal, Self::Base, Self::Contained, Self::Sealed];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Base => "base",
            Self::Contained => "contained",
            Self::Sealed => "sealed",
        }
    }
}

// === impl Policies ===

impl Policies {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Block, Self::Whitelist];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Whitelist => "whitelist",
        }
    }

    /// Files of a policy directory, with a place for the level.
    pub(super) fn files(self) -> &'static [(&'static str, &'static str)] {
        const BLOCK: (&str, &str) = ("block.yaml", include_str!("../../workloads/block.yaml"));
        const WHITELIST: (&str, &str) =
            ("whitelist.yaml", include_str!("../../workloads/whitelist.yaml"));
        match self {
            Self::Block => &[BLOCK],
            Self::Whitelist => &[BLOCK, WHITELIST],
        }
    }
}

// === impl Selection ===

impl Default for Selection {
    /// All that has targets, and what `sealed` breaks.
    fn default() -> Self {
        Self {
            roots: Medium::ALL.into(),
            levels: vec![Level::Base, Level::Contained, Level::Sealed],
            policies: Policies::ALL.into(),
            only: Vec::new(),
        }
    }
}

impl Selection {
    /// Whether every figure with a target is going to be taken.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The rules of all runs on one root.
    pub(super) fn under(&self) -> impl Iterator<Item = Under> {
        self.policies.iter().flat_map(|policies| {
            self.levels.iter().map(|level| Under { level: *level, policies: *policies })
        })
    }
}

impl fmt::Display for Under {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.policies, self.level)
    }
}

macro_rules! named {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = Unknown;

            fn from_str(name: &str) -> Result<Self, Unknown> {
                let found = Self::ALL.into_iter().find(|one| one.name() == name);
                found.ok_or_else(|| Unknown(name.to_owned()))
            }
        }
    )*};
}

named!(Level, Policies);
