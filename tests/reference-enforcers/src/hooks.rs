// SPDX-License-Identifier: Apache-2.0
//! The hooks that the programs sit on, by the words that rules have for them. Only names are known
//! here.

use std::{ops::BitOr, str::FromStr};

use anyhow::{Context as _, Result};

/// The word of a rule, the program. The position is the bit in `bpf/rules.h`.
const HOOKS: [(&str, &str); 13] = [
    ("exec", "bprm_check_security"),
    ("open", "file_open"),
    ("rename", "path_rename"),
    ("link", "path_link"),
    ("unlink", "path_unlink"),
    ("rmdir", "path_rmdir"),
    ("mkdir", "path_mkdir"),
    ("mknod", "path_mknod"),
    ("symlink", "path_symlink"),
    ("chmod", "path_chmod"),
    ("truncate", "path_truncate"),
    ("mount", "sb_mount"),
    ("move_mount", "move_mount"),
];

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks(u32);

// === impl Hooks ===

impl Hooks {
    pub(crate) const EXEC: Self = Self(1);
    pub(crate) const OPEN: Self = Self(1 << 1);
    pub(crate) const RENAME: Self = Self(1 << 2);
    /// Those on which KubeArmor decides about a file, from `file_open` to `path_truncate`.
    pub(crate) const FILE: Self = Self((1 << 11) - (1 << 1));
    pub(crate) const MOUNT: Self = Self(1 << 11 | 1 << 12);

    /// As `bpf/rules.h` has it.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The programs that sit on them.
    pub(crate) fn programs(self) -> impl Iterator<Item = &'static str> {
        let with_bits = (0..).zip(HOOKS);
        with_bits.filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, (_, program))| program)
    }
}

impl BitOr for Hooks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromStr for Hooks {
    type Err = anyhow::Error;

    /// Words joined by commas; `file` stands for all that KubeArmor's file rules deny.
    fn from_str(text: &str) -> Result<Self> {
        text.split(',').try_fold(Self::default(), |hooks, word| {
            if word == "file" {
                return Ok(hooks | Self::FILE);
            }
            let bit = HOOKS.iter().position(|(name, _)| *name == word);
            Ok(hooks | Self(1 << bit.with_context(|| format!("no hook is called `{word}`"))?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_programs() {
        let header = include_str!("../bpf/rules.h");
        let programs = include_str!("../bpf/reference.bpf.c");
        for (bit, (word, program)) in HOOKS.iter().enumerate() {
            let constant = format!("HOOK_{}", word.to_uppercase());
            assert!(header.contains(&format!("\t{constant} = 1 << {bit},\n")), "{constant}");
            let body = programs.split(&format!("SEC(\"lsm/{program}\")")).nth(1).unwrap();
            assert!(body.split("SEC(").next().unwrap().contains(&constant), "{program}");
        }
        assert_eq!(header.matches("\tHOOK_").count(), HOOKS.len());
    }

    #[test]
    fn words_name_hooks() {
        let programs = |text: &str| Vec::from_iter(text.parse::<Hooks>().unwrap().programs());
        assert_eq!(programs("exec,open"), ["bprm_check_security", "file_open"]);
        assert_eq!(programs("mount,move_mount"), Vec::from_iter(Hooks::MOUNT.programs()));
        assert_eq!(programs("file").first(), Some(&"file_open"));
        assert_eq!(programs("file").last(), Some(&"path_truncate"));
        assert!("exec,".parse::<Hooks>().is_err());
    }
}
