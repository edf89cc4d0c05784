// SPDX-License-Identifier: Apache-2.0
//! What the options of a rule set refuse: names for events, and which option is behind each.

use std::fmt;

use kadapter_proto::guest::v1 as pb;

use crate::feature::Feature;

macro_rules! primitives {
    ($($variant:ident = $name:literal, $option:expr, $doc:literal;)+) => {
        /// A hardening primitive that decided about an access.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Primitive { $(#[doc = $doc] $variant,)+ }

        impl Primitive {
            /// Every primitive.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name in events.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The option that asks for it; none for what every rule set has.
            #[must_use]
            pub fn option(self) -> Option<Feature> {
                match self { $(Self::$variant => $option,)+ }
            }

            pub(crate) fn to_wire(self) -> pb::Primitive {
                match self { $(Self::$variant => pb::Primitive::$variant,)+ }
            }

            pub(crate) fn from_wire(primitive: pb::Primitive) -> Option<Self> {
                match primitive {
                    pb::Primitive::Unspecified => None,
                    $(pb::Primitive::$variant => Some(Self::$variant),)+
                }
            }
        }
    };
}

primitives! {
    Taint = "taint", Some(Feature::Taint), "Execution of what the container wrote.";
    UnlinkedExec = "unlinked-exec", Some(Feature::NoUnlinkedExec), "Execution of a file without a name.";
    AnonymousExec = "anonymous-exec", Some(Feature::NoAnonymousExec), "Executable memory without a file, or writable at once.";
    Execmod = "execmod", Some(Feature::NoExecmod), "Executable private maps that were written.";
    Poke = "poke", Some(Feature::NoPoke), "Writing into the memory of a process.";
    NewMount = "new-mount", Some(Feature::NoNewMounts), "Privileges to mount.";
    UserNamespace = "user-namespace", Some(Feature::NoUserNamespaces), "User namespaces.";
    UnknownFileSystem = "unknown-file-system", Some(Feature::KnownFileSystemsOnly), "Execution from a file system that came later.";
    NameGuard = "name-guard", Some(Feature::NameGuard), "Renaming, linking or replacing what a rule names.";
    ExecRead = "exec-read", Some(Feature::DenyReads), "Reading what may not be executed.";
    CoveringMount = "covering-mount", None, "A mount over what a rule names.";
    AllowGuard = "allow-guard", Some(Feature::AllowGuard), "Writing, replacing or covering a permitted program.";
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
