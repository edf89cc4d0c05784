// SPDX-License-Identifier: Apache-2.0
//! Names of what a rule set needs from the engine that enforces it.

use std::{fmt, str::FromStr};

use crate::{
    object::{Match, Object, PathObject},
    options::{NameGuard, Options, Revoke},
    rule::{Category, Rule},
};

macro_rules! features {
    ($($variant:ident = $name:literal, $doc:literal;)+) => {
        /// Something that a rule set may need. A guest that lacks it refuses the whole set.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Feature { $(#[doc = $doc] $variant,)+ }

        impl Feature {
            /// Every feature of the contract.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

features! {
    Process = "process", "Rules on the execution of programs.";
    File = "file", "Rules on access to files.";
    Network = "network", "Rules on sockets.";
    Dns = "dns", "Rules on host names.";
    Capability = "capability", "Rules on capabilities.";
    Syscall = "syscall", "Rules on system calls.";
    PathName = "object.path.name", "A file by the name used at the access.";
    PathIdentity = "object.path.identity", "A file by its inode.";
    Directory = "object.directory", "The files of a directory.";
    AtomicVolume = "object.directory.atomic", "A directory that an atomic writer replaces.";
    ExecName = "object.execname", "Any file of a base name.";
    Automaton = "object.automaton", "A compiled pattern.";
    Applet = "object.applet", "Programs of a multi-call binary.";
    Content = "object.content", "Any file of a content.";
    Link = "object.link", "A symbolic link as such.";
    Sources = "rule.sources", "Rules limited to acting executables.";
    OwnerOnly = "rule.owner-only", "Only the owner of a file passes.";
    ReadOnly = "rule.read-only", "Only reading passes.";
    NoTty = "rule.no-tty", "Rules that act on tasks with a terminal.";
    AllowedArgs = "rule.allowed-args", "Rules on arguments.";
    Taint = "option.taint", "No execution of written files.";
    NoUnlinkedExec = "option.no-unlinked-exec", "No execution of unlinked files.";
    NoAnonymousExec = "option.no-anonymous-exec", "No executable anonymous memory.";
    NoExecmod = "option.no-execmod", "No executable private file maps that were written.";
    NoPoke = "option.no-poke", "No writing to another task's memory.";
    NoNewMounts = "option.no-new-mounts", "No mounts.";
    NoUserNamespaces = "option.no-user-namespaces", "No user namespaces.";
    KnownFileSystemsOnly = "option.known-file-systems-only", "No execution from unknown file systems.";
    NameGuard = "option.name-guard", "No renaming of ruled objects.";
    DenyReads = "option.deny-reads-of-exec-blocked", "No reading of blocked programs.";
    AllowGuard = "option.allow-guard", "Permitted programs keep their content.";
    Hold = "option.hold", "Sources and programs of blocked directories by their inodes.";
    Revoke = "option.revoke", "Open descriptors are checked again.";
}

/// A name that this build does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown feature `{0}`; the other side is newer, upgrade this one")]
pub struct UnknownFeature(pub String);

// === impl Feature ===

impl Feature {
    /// What this rule needs.
    pub fn of_rule(rule: &Rule) -> impl Iterator<Item = Self> + use<> {
        let switch = |on: bool, feature| on.then_some(feature);
        let [object, variant] = Self::of_object(&rule.object);
        let needs = [
            Some(Self::of_category(rule.category)),
            object,
            variant,
            switch(!rule.sources.is_empty(), Self::Sources),
            switch(rule.owner_only, Self::OwnerOnly),
            switch(rule.read_only, Self::ReadOnly),
            switch(rule.no_tty, Self::NoTty),
            switch(!rule.allowed_args.is_empty(), Self::AllowedArgs),
        ];
        needs.into_iter().flatten()
    }

    /// What these options need.
    #[must_use]
    pub fn of_options(options: &Options) -> Vec<Self> {
        let switches = [
            (options.taint, Self::Taint),
            (options.no_unlinked_exec, Self::NoUnlinkedExec),
            (options.no_anonymous_exec, Self::NoAnonymousExec),
            (options.no_execmod, Self::NoExecmod),
            (options.no_poke, Self::NoPoke),
            (options.no_new_mounts, Self::NoNewMounts),
            (options.no_user_namespaces, Self::NoUserNamespaces),
            (options.known_file_systems_only, Self::KnownFileSystemsOnly),
            (options.name_guard != NameGuard::None, Self::NameGuard),
            (options.deny_reads_of_exec_blocked, Self::DenyReads),
            (options.allow_guard, Self::AllowGuard),
            (options.hold, Self::Hold),
            (options.revoke != Revoke::Never, Self::Revoke),
        ];
        switches.iter().filter(|(on, _)| *on).map(|(_, feature)| *feature).collect()
    }

    fn of_category(category: Category) -> Self {
        match category {
            Category::Process => Self::Process,
            Category::File => Self::File,
            Category::Network => Self::Network,
            Category::Dns => Self::Dns,
            Category::Capability => Self::Capability,
            Category::Syscall => Self::Syscall,
        }
    }

    /// What its kind needs, and what its variant does.
    fn of_object(object: &Object) -> [Option<Self>; 2] {
        let kind = match object {
            Object::Path(PathObject { matching: Match::Name, .. }) => Self::PathName,
            Object::Path(PathObject { matching: Match::Identity, .. }) => Self::PathIdentity,
            Object::Directory(directory) if directory.atomic_volume => {
                return [Some(Self::Directory), Some(Self::AtomicVolume)];
            }
            Object::Directory(_) => Self::Directory,
            Object::ExecName(_) => Self::ExecName,
            Object::Automaton(_) => Self::Automaton,
            Object::Applet { .. } => Self::Applet,
            Object::Content { .. } => Self::Content,
            Object::Link(_) => Self::Link,
            // The category says it all.
            Object::Socket { .. }
            | Object::Capability(_)
            | Object::Syscall { .. }
            | Object::Dns { .. } => return [None, None],
        };
        [Some(kind), None]
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(name: &str) -> Result<Self, UnknownFeature> {
        let found = Self::ALL.iter().find(|feature| feature.name() == name);
        found.copied().ok_or_else(|| UnknownFeature(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_found_by_its_name() {
        for feature in Feature::ALL {
            assert_eq!(feature.name().parse(), Ok(*feature));
        }
        assert!("object.telepathy".parse::<Feature>().is_err());
    }
}
