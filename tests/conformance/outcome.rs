// SPDX-License-Identifier: Apache-2.0
//! What came of a step, and whether that is what the case expects.

use std::fmt;

use crate::case::{Event, Expect, Run};

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ok,
    Eacces,
    Eperm,
    /// Some denial, whose errno is not told.
    Denied,
    /// A signal ended the program that was to be executed.
    Killed,
    /// Something else: the case is wrong, or the step impossible on this root.
    Failed(String),
}

/// One event that a step caused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) verdict: String,
    pub(crate) hook: String,
    pub(crate) path: String,
    pub(crate) source: String,
    pub(crate) reason: String,
    pub(crate) primitive: Option<String>,
}

// === impl End ===

impl End {
    pub(crate) fn of_errno(errno: i32) -> Self {
        match errno {
            1 => Self::Eperm,
            13 => Self::Eacces,
            other => Self::Failed(format!("errno {other}")),
        }
    }

    fn is(&self, expect: Expect) -> bool {
        match expect {
            Expect::Ok => *self == Self::Ok,
            Expect::Eacces => matches!(self, Self::Eacces | Self::Denied),
            Expect::Eperm => matches!(self, Self::Eperm | Self::Denied),
            Expect::Killed => *self == Self::Killed,
            Expect::Denied => matches!(self, Self::Eacces | Self::Eperm | Self::Denied),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Eacces => f.write_str("EACCES"),
            Self::Eperm => f.write_str("EPERM"),
            Self::Denied => f.write_str("denied"),
            Self::Killed => f.write_str("killed"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn is(&self, expected: &Event) -> bool {
        let same =
            |wanted: &Option<String>, got: &str| wanted.as_ref().is_none_or(|wanted| wanted == got);
        self.verdict == expected.verdict
            && same(&expected.hook, &self.hook)
            && same(&expected.path, &self.path)
            && same(&expected.source, &self.source)
            && same(&expected.reason, &self.reason)
            && (expected.primitive.is_none() || self.primitive == expected.primitive)
    }
}

/// Why a step's end is not what the case expects; none if it is.
pub(crate) fn complaint(run: &Run, end: &End) -> Option<String> {
    (!end.is(run.expect))
        .then(|| format!("`{}` ended with {end}, expected was {:?}", run.run.join(" "), run.expect))
}
