// SPDX-License-Identifier: Apache-2.0
//! What is denied: paths with hooks, and the columns of the matrix as such.
//!
//! In: a column and the programs that it blocks, or the text of rules. Out: a [`Plan`], and the
//! table that the programs look up. The kernel is not touched.

use std::{collections::BTreeMap, path::Path, str::FromStr};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::{hooks::Hooks, subject::SubjectKind};

/// A rule set of the matrix, by its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// KubeArmor's process rule
    #[value(name = "P")]
    KubeArmorProcess,
    /// Tetragon's hook on exec
    #[value(name = "P'")]
    TetragonExec,
    /// P and KubeArmor's file rule
    #[value(name = "K")]
    KubeArmorFile,
    /// P' and Tetragon's hook on opens
    #[value(name = "K2")]
    TetragonOpen,
    /// K by control group, with directories above the target that keep their names, without mounts
    #[value(name = "K+")]
    KubeArmorMore,
}

/// Where a path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PathsEnd {
    /// At the root of the mount namespace, as KubeArmor's
    NamespaceRoot,
    /// At the root of the acting task, as Tetragon's
    TaskRoot,
}

/// What is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What tells the container's tasks from others.
    pub(crate) subject: SubjectKind,
    /// Where paths end.
    pub(crate) paths: PathsEnd,
    /// What is denied.
    pub(crate) rules: Vec<Rule>,
}

/// Hooks that deny a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) hooks: Hooks,
    /// Without a slash at its end, so that the root is empty.
    path: String,
    reach: Reach,
}

/// Position in `struct rule` of `bpf/rules.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Exact = 0,
    Child = 1,
    Tree = 2,
}

/// `struct rule` of `bpf/rules.h`.
pub(crate) type Masks = [u32; 3];

// === impl Column ===

impl Column {
    /// The rules that make the column.
    pub(crate) fn plan(self, targets: &[String]) -> Plan {
        let hooks = match self {
            Self::KubeArmorProcess | Self::TetragonExec => Hooks::EXEC,
            Self::KubeArmorFile | Self::KubeArmorMore => Hooks::EXEC | Hooks::FILE,
            Self::TetragonOpen => Hooks::EXEC | Hooks::OPEN,
        };
        let mut rules: Vec<_> = targets.iter().map(|target| Rule::exact(hooks, target)).collect();
        if self == Self::KubeArmorMore {
            let above = targets.iter().flat_map(|target| Path::new(target).ancestors().skip(1));
            let above = above.filter_map(Path::to_str).filter(|path| *path != "/");
            rules.extend(above.map(|path| Rule::exact(Hooks::RENAME, path)));
            let mounts = Rule { hooks: Hooks::MOUNT, path: String::new(), reach: Reach::Tree };
            rules.push(mounts);
        }
        Plan { subject: self.subject(), paths: self.paths(), rules }
    }

    fn subject(self) -> SubjectKind {
        match self {
            Self::KubeArmorProcess | Self::KubeArmorFile => SubjectKind::Namespaces,
            Self::TetragonExec | Self::TetragonOpen | Self::KubeArmorMore => SubjectKind::Cgroup,
        }
    }

    fn paths(self) -> PathsEnd {
        match self {
            Self::TetragonExec | Self::TetragonOpen => PathsEnd::TaskRoot,
            Self::KubeArmorProcess | Self::KubeArmorFile | Self::KubeArmorMore => {
                PathsEnd::NamespaceRoot
            }
        }
    }
}

// === impl Plan ===

impl Plan {
    /// All hooks that deny something.
    pub(crate) fn hooks(&self) -> Hooks {
        self.rules.iter().fold(Hooks::default(), |all, rule| all | rule.hooks)
    }

    /// What the programs look up.
    pub(crate) fn table(&self) -> BTreeMap<u64, Masks> {
        let mut table = BTreeMap::<u64, Masks>::new();
        for rule in &self.rules {
            table.entry(hash(&rule.path)).or_default()[rule.reach as usize] |= rule.hooks.bits();
        }
        table
    }
}

// === impl Rule ===

impl Rule {
    fn exact(hooks: Hooks, path: &str) -> Self {
        Self { hooks, path: path.to_owned(), reach: Reach::Exact }
    }
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (hooks, path) = text.split_once('=').context("a rule is HOOKS=PATH")?;
        ensure!(path.starts_with('/'), "`{path}` is no absolute path");
        let (path, reach) = match (path.strip_suffix("/**"), path.strip_suffix("/*")) {
            (Some(directory), _) => (directory, Reach::Tree),
            (None, Some(directory)) => (directory, Reach::Child),
            (None, None) => (path.strip_suffix('/').unwrap_or(path), Reach::Exact),
        };
        Ok(Self { hooks: hooks.parse()?, path: path.to_owned(), reach })
    }
}

/// FNV-1a, as `bpf/path.h` computes it.
fn hash(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "/usr/bin/apt";

    fn plan(column: &str) -> Plan {
        Column::from_str(column, false).unwrap().plan(&[T.to_owned()])
    }

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn columns_are_the_rules_that_the_matrix_defines() {
        use PathsEnd::{NamespaceRoot, TaskRoot};
        use SubjectKind::{Cgroup, Namespaces};
        let more =
            ["exec,file=/usr/bin/apt", "rename=/usr/bin", "rename=/usr", "mount,move_mount=/**"];
        let expected: [(&str, SubjectKind, PathsEnd, &[&str]); 5] = [
            ("P", Namespaces, NamespaceRoot, &["exec=/usr/bin/apt"]),
            ("P'", Cgroup, TaskRoot, &["exec=/usr/bin/apt"]),
            ("K", Namespaces, NamespaceRoot, &["exec,file=/usr/bin/apt"]),
            ("K2", Cgroup, TaskRoot, &["exec,open=/usr/bin/apt"]),
            ("K+", Cgroup, NamespaceRoot, &more),
        ];
        for (column, subject, paths, texts) in expected {
            assert_eq!(plan(column), Plan { subject, paths, rules: rules(texts) }, "{column}");
        }
    }

    #[test]
    fn rules_of_one_path_are_one_entry() {
        let texts = ["exec=/a", "open=/a/", "exec=/a/*", "rename=/a/**", "mount=/**"];
        let plan = Plan { rules: rules(&texts), ..plan("P") };
        let table = plan.table();
        assert_eq!(table[&hash("/a")], [0b11, 0b1, 0b100]);
        assert_eq!(table[&hash("")], [0, 0, 1 << 11]);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn rules_that_say_nothing_are_refused() {
        for text in ["/usr/bin/apt", "exec=usr", "=/usr", "run=/usr"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }

    /// Test vectors of the hash's authors.
    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }
}
