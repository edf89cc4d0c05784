// SPDX-License-Identifier: Apache-2.0
//! What each program takes its hook's arguments for.
//!
//! A program reads its arguments by their place, and the verdict of an earlier program right behind
//! them. Kernels change hooks: `bpf` has a fourth argument since Linux 6.15. Whoever loads the
//! programs compares this table, which `build.rs` reads from their source, with the running kernel.

use std::fmt;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Its name in the object.
    pub program: &'static str,
    /// What it is attached to.
    pub hook: &'static str,
    /// The hook's first arguments, as the program takes them.
    pub arguments: &'static [Argument<'static>],
    /// Whether it reads the verdict behind them: then the hook must have no further ones.
    pub reads_verdict: bool,
}

/// An argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'t> {
    /// A pointer to a structure of this name; to anything else if it has none.
    Pointer(&'t str),
    /// A value of so many bytes.
    Value(u32),
}

/// All programs of the object.
pub static PROTOTYPES: &[Prototype] = include!(concat!(env!("OUT_DIR"), "/prototypes.rs"));

// === impl Argument ===

impl fmt::Display for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer("") => f.write_str("pointer"),
            Self::Pointer(name) => write!(f, "{name} *"),
            Self::Value(size) => write!(f, "{size} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(program: &str) -> Prototype {
        *PROTOTYPES.iter().find(|known| known.program == program).unwrap()
    }

    #[test]
    fn arguments_are_those_of_the_source() {
        let path = Argument::Pointer("path");
        let mknod = [path, Argument::Pointer("dentry"), Argument::Value(2), Argument::Value(4)];
        assert_eq!(of("path_mknod").arguments, mknod);
        assert!(of("path_mknod").reads_verdict);
        let text = Argument::Pointer("");
        assert_eq!(of("sb_mount").arguments, [text, path, text, Argument::Value(8), text]);
        assert_eq!(of("inode_copy_up").arguments, [Argument::Pointer("dentry"), text]);
        assert_eq!(of("exec_arguments").hook, "bprm_committed_creds");
    }

    #[test]
    fn what_reads_no_verdict_may_have_further_arguments() {
        for program in ["bpf", "bprm_committed_creds", "inode_free_security"] {
            assert!(!of(program).reads_verdict, "{program}");
        }
    }
}
