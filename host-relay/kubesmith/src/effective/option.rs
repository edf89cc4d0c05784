// SPDX-License-Identifier: Apache-2.0
//! Options of a rule set, one switch at a time: a container has one set of them, and several
//! policies may ask for each.

use std::fmt;

use policy_model::{Feature, NameGuard, Options};

use super::Provenance;
use crate::{finding::Code, harden::Level};

/// One switch of [`Options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Switch {
    /// Ruled names stay where they are.
    NameGuardObject,
    /// So do the directories above them.
    NameGuardAncestors,
    /// Blocked programs are not read.
    DenyReads,
    /// What the container wrote is not executed.
    Taint,
    /// Neither is a file without a name.
    NoUnlinkedExec,
    /// Nor memory without a file.
    NoAnonymousExec,
    /// Nor a private map that was written.
    NoExecmod,
    /// Nobody writes into the memory of processes.
    NoPoke,
    /// Nobody mounts.
    NoNewMounts,
    /// Nobody makes user namespaces.
    NoUserNamespaces,
    /// Nothing is executed from file systems that came later.
    KnownFileSystemsOnly,
    /// What is permitted is not written or replaced.
    AllowGuard,
    /// Sources, and programs of blocked directories, are known by their inodes too.
    Hold,
}

/// A switch that a policy asks for, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveOption {
    /// The switch.
    pub switch: Switch,
    /// The level that it belongs to.
    pub level: Level,
    /// The finding that asks for it.
    pub finding: Code,
    /// The gravest of the rules for whose sake it is asked for.
    pub provenance: Provenance,
}

// === impl Switch ===

impl Switch {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::NameGuardObject,
        Self::NameGuardAncestors,
        Self::DenyReads,
        Self::Taint,
        Self::NoUnlinkedExec,
        Self::NoAnonymousExec,
        Self::NoExecmod,
        Self::NoPoke,
        Self::NoNewMounts,
        Self::NoUserNamespaces,
        Self::KnownFileSystemsOnly,
        Self::AllowGuard,
        Self::Hold,
    ];

    /// Sets it; never takes back what is set.
    pub fn set(self, options: &mut Options) {
        match self {
            Self::NameGuardObject => {
                if options.name_guard == NameGuard::None {
                    options.name_guard = NameGuard::Object;
                }
            }
            Self::NameGuardAncestors => options.name_guard = NameGuard::Ancestors,
            Self::DenyReads => options.deny_reads_of_exec_blocked = true,
            Self::Taint => options.taint = true,
            Self::NoUnlinkedExec => options.no_unlinked_exec = true,
            Self::NoAnonymousExec => options.no_anonymous_exec = true,
            Self::NoExecmod => options.no_execmod = true,
            Self::NoPoke => options.no_poke = true,
            Self::NoNewMounts => options.no_new_mounts = true,
            Self::NoUserNamespaces => options.no_user_namespaces = true,
            Self::KnownFileSystemsOnly => options.known_file_systems_only = true,
            Self::AllowGuard => options.allow_guard = true,
            Self::Hold => options.hold = true,
        }
    }

    /// What a guest needs for it.
    #[must_use]
    pub fn feature(self) -> Feature {
        match self {
            Self::NameGuardObject | Self::NameGuardAncestors => Feature::NameGuard,
            Self::DenyReads => Feature::DenyReads,
            Self::Taint => Feature::Taint,
            Self::NoUnlinkedExec => Feature::NoUnlinkedExec,
            Self::NoAnonymousExec => Feature::NoAnonymousExec,
            Self::NoExecmod => Feature::NoExecmod,
            Self::NoPoke => Feature::NoPoke,
            Self::NoNewMounts => Feature::NoNewMounts,
            Self::NoUserNamespaces => Feature::NoUserNamespaces,
            Self::KnownFileSystemsOnly => Feature::KnownFileSystemsOnly,
            Self::AllowGuard => Feature::AllowGuard,
            Self::Hold => Feature::Hold,
        }
    }
}

impl fmt::Display for Switch {
    /// What is denied, to end a sentence with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameGuardObject => "renaming what is blocked",
            Self::NameGuardAncestors => "renaming directories above it",
            Self::DenyReads => "reading blocked programs",
            Self::Taint => "executing what the container wrote",
            Self::NoUnlinkedExec => "executing files without a name",
            Self::NoAnonymousExec => "executable memory without a file",
            Self::NoExecmod => "executable maps that were written",
            Self::NoPoke => "writing into processes",
            Self::NoNewMounts => "mounts",
            Self::NoUserNamespaces => "user namespaces",
            Self::KnownFileSystemsOnly => "executing from new file systems",
            Self::AllowGuard => "changing what is permitted where nothing else is",
            Self::Hold => "what programs of blocked directories, and sources, do under other names",
        })
    }
}

/// All switches together.
#[must_use]
pub(crate) fn union<'a>(asked: impl IntoIterator<Item = &'a EffectiveOption>) -> Options {
    let mut options = Options::default();
    asked.into_iter().for_each(|option| option.switch.set(&mut options));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_needs_its_feature_and_no_other() {
        for switch in Switch::ALL {
            let mut options = Options::default();
            switch.set(&mut options);
            assert_eq!(Feature::of_options(&options), [switch.feature()], "{switch:?}");
        }
    }

    #[test]
    fn the_wider_name_guard_stays_in_any_order() {
        for order in [
            [Switch::NameGuardObject, Switch::NameGuardAncestors],
            [Switch::NameGuardAncestors, Switch::NameGuardObject],
        ] {
            let mut options = Options::default();
            order.into_iter().for_each(|switch| switch.set(&mut options));
            assert_eq!(options.name_guard, NameGuard::Ancestors);
        }
    }
}
