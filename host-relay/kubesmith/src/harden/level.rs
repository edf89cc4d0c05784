// SPDX-License-Identifier: Apache-2.0
//! Levels of hardening: their names, and which one holds for a policy.

use std::{fmt, str::FromStr};

use crate::crd::{KubeArmorPolicy, Namespace};

/// Annotation that sets the level, on a policy or its namespace.
pub const LEVEL_ANNOTATION: &str = "kadapter.io/level";

/// How much is added; each level adds to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Nothing: rules by name, as written.
    Literal,
    /// What is blocked is also held by its identity, and keeps its name.
    Base,
    /// Nobody copies a blocked program.
    Contained,
    /// Nothing that came into the container later is executed.
    Sealed,
}

/// A level that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("level `{0}` is unknown; use `literal`, `base`, `contained` or `sealed`")]
pub struct InvalidLevel(pub String);

/// The level of a policy: its own annotation, else its namespace's, else the default.
///
/// # Errors
/// If the annotation that counts names no level.
pub fn level_of(
    policy: &KubeArmorPolicy,
    namespace: Option<&Namespace>,
    default: Level,
) -> Result<Level, InvalidLevel> {
    let own = policy.metadata.annotations.get(LEVEL_ANNOTATION);
    let shared = || namespace?.metadata.annotations.get(LEVEL_ANNOTATION);
    own.or_else(shared).map_or(Ok(default), |text| text.parse())
}

// === impl Level ===

impl Level {
    /// What holds where nobody says otherwise.
    pub const DEFAULT: Self = Self::Contained;

    /// All of them, from the one that adds least.
    pub const ALL: [Self; 4] = [Self::Literal, Self::Base, Self::Contained, Self::Sealed];

    /// Its name in annotations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Base => "base",
            Self::Contained => "contained",
            Self::Sealed => "sealed",
        }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLevel> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| InvalidLevel(text.into()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
