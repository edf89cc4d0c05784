// SPDX-License-Identifier: Apache-2.0
//! What a rule speaks of.

use crate::path::RulePath;

/// How a path finds its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Match {
    /// The name used at this access: what the author wrote.
    Name,
    /// The inode found under that name when the rules were applied, wherever it goes afterwards.
    Identity,
}

/// A file by path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathObject {
    /// Path in the container.
    pub path: RulePath,
    /// By name or by identity.
    pub matching: Match,
}

/// The files of a directory, and the directory itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Directory {
    /// Path in the container.
    pub path: RulePath,
    /// Everything below, not only the direct children.
    pub recursive: bool,
    /// Replaced as a whole by an atomic writer.
    pub atomic_volume: bool,
}

/// Bytes of a file, without the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content {
    /// Their hash.
    pub sha256: [u8; 32],
    /// How many they are.
    pub size: u64,
}

/// Object of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// One file.
    Path(PathObject),
    /// The files of a directory.
    Directory(Directory),
    /// Any file of this base name.
    ExecName(String),
    /// Any path that a compiled pattern accepts.
    Automaton(Vec<u8>),
    /// Some programs of a multi-call binary.
    Applet {
        /// The binary.
        binary: RulePath,
        /// Its applets, in ascending order.
        names: Vec<String>,
    },
    /// Any file with this content.
    Content {
        /// Hash of the content.
        sha256: [u8; 32],
        /// Its length, checked first.
        size: u64,
    },
    /// A symbolic link as such.
    Link(RulePath),
    /// Sockets of a kind; zero stands for any.
    Socket {
        /// Address family.
        family: u32,
        /// Socket type.
        kind: u32,
        /// Protocol number.
        protocol: u32,
    },
    /// A capability by its lower-case name without `cap_`.
    Capability(String),
    /// System calls, optionally with their path argument.
    Syscall {
        /// Numbers of the guest's architecture, ascending.
        numbers: Vec<u32>,
        /// Only calls on this path.
        path: Option<RulePath>,
    },
    /// A host name that is looked up.
    Dns {
        /// Lower-case name without a trailing dot.
        name: String,
        /// Names below it too.
        subdomains: bool,
    },
}

// === impl Directory ===

impl Directory {
    /// Whether the rule covers this path.
    #[must_use]
    pub fn covers(&self, path: &RulePath) -> bool {
        path.below(&self.path).is_some_and(|rest| self.recursive || !rest.contains('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(text: &str, recursive: bool) -> Directory {
        Directory { path: RulePath::new(text).unwrap(), recursive, atomic_volume: false }
    }

    #[test]
    fn a_directory_covers_itself_and_its_direct_children() {
        let path = |text: &str| RulePath::new(text).unwrap();
        let flat = directory("/a/b", false);
        assert!(flat.covers(&path("/a/b")) && flat.covers(&path("/a/b/c")));
        assert!(!flat.covers(&path("/a/b/c/d")) && !flat.covers(&path("/a")));
        let deep = directory("/a/b", true);
        assert!(deep.covers(&path("/a/b/c/d")) && !deep.covers(&path("/a/bc")));
        assert!(directory("/", true).covers(&path("/x/y")));
        assert!(!directory("/", false).covers(&path("/x/y")));
    }
}
