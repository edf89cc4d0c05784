// SPDX-License-Identifier: Apache-2.0
//! What the author of a policy should know although the policy is in force.

use std::fmt;

use crate::effective::PolicyRef;

/// Kind of a finding; number and text are stable, for filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A path that is a symbolic link, or leads through one: no file is known by it.
    SymlinkPath,
    /// A directory given as a file, a file given as a directory, or what is never executed as a program.
    WrongKind,
    /// A path that no file can have, such as a pattern.
    Unmatchable,
    /// A selector that no pod or container can match.
    DeadRule,
    /// The blocked program runs under another name.
    Bypass,
    /// It would, but the level of hardening closes that way.
    BypassClosed,
    /// So many rules speak about the blocked program that no other name was searched.
    Unsearched,
    /// Nothing in the policy makes a rule.
    NoRules,
    /// A list of container names without brackets, which KubeArmor reads differently.
    ContainerNames,
    /// A posture annotation that means nothing; the default holds.
    Posture,
    /// The pod asks to be audited only, which is not built yet; its rules are enforced.
    Audited,
    /// An allowed argument has a blank in it, as if it were several.
    BlankInArgument,
    /// What the level of hardening adds, and what it leaves; nobody has to act.
    Hardened,
    /// All programs read what is blocked, so it is not held by identity.
    MustRead,
    /// Programs are blocked in a way that cannot hold them by identity.
    NameOnly,
    /// What is permitted can be given another content.
    Replaceable,
    /// What is blocked for a program is not blocked for a copy of it.
    CopiedSource,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// The policy; none if it is about the pod or the namespace.
    pub policy: Option<PolicyRef>,
    /// Path of the field.
    pub field: String,
    /// A sentence with the remedy.
    pub message: String,
    /// Steps that show it.
    pub counter_example: Option<String>,
}

// === impl Code ===

impl Code {
    /// Its stable number; below 111 are those on names that match nothing.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::SymlinkPath => "KS102",
            Self::WrongKind => "KS107",
            Self::Unmatchable => "KS108",
            Self::DeadRule => "KS109",
            Self::Bypass => "KS111",
            Self::BypassClosed => "KS112",
            Self::Unsearched => "KS113",
            Self::NoRules => "KS114",
            Self::ContainerNames => "KS115",
            Self::Posture => "KS116",
            Self::Audited => "KS117",
            Self::BlankInArgument => "KS118",
            Self::Hardened => "KS120",
            Self::MustRead => "KS121",
            Self::NameOnly => "KS122",
            Self::Replaceable => "KS123",
            Self::CopiedSource => "KS124",
        }
    }

    /// Whether it only tells what was done.
    #[must_use]
    pub fn is_remark(self) -> bool {
        self == Self::Hardened
    }

    /// Its stable text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SymlinkPath => "symlink-path",
            Self::WrongKind => "wrong-kind",
            Self::Unmatchable => "unmatchable",
            Self::DeadRule => "dead-rule",
            Self::Bypass => "bypass",
            Self::BypassClosed => "bypass-closed",
            Self::Unsearched => "unsearched",
            Self::NoRules => "no-rules",
            Self::ContainerNames => "container-names",
            Self::Posture => "posture",
            Self::Audited => "audited",
            Self::BlankInArgument => "blank-in-argument",
            Self::Hardened => "hardened",
            Self::MustRead => "must-read",
            Self::NameOnly => "name-only",
            Self::Replaceable => "replaceable",
            Self::CopiedSource => "copied-source",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id(), self.as_str())
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] ", self.code)?;
        if let Some(policy) = &self.policy {
            write!(f, "{policy}: ")?;
        }
        write!(f, "{}: {}", self.field, self.message)?;
        match &self.counter_example {
            Some(steps) => write!(f, " ({steps})"),
            None => Ok(()),
        }
    }
}
