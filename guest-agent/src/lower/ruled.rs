// SPDX-License-Identifier: Apache-2.0
//! The paths that rules have for objects, each once, with what Block rules say of it.
//!
//! Rules flow in; paths in the order of the rules flow out. Several rules speak of one path (hardening
//! adds a twin to each), and what is done for a path is dear: it is done once.

use std::collections::HashMap;

use guest_bpf::abi;
use policy_model::{Action, Category, Directory, Match, Object, PathObject, RuleSet};

/// How Block rules speak of a path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speaks {
    process: BlocksFile,
    file: BlocksFile,
    directory: bool,
    permits: Permits,
}

/// What an Allow rule names whose programs a guard keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Permits {
    #[default]
    Nothing,
    File,
    Directory,
}

/// How Block rules of one category speak of a file.
#[derive(Clone, Copy, Debug, Default)]
struct BlocksFile {
    at_all: bool,
    by_identity: bool,
}

/// Something for each path, in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct InOrder<'r, T> {
    entries: Vec<(&'r str, T)>,
    index: HashMap<&'r str, usize>,
}

// === impl Speaks ===

impl Speaks {
    /// Whether the path is the object of a Block rule.
    pub(super) fn blocks(self) -> bool {
        self.directory || self.process.at_all || self.file.at_all
    }

    /// Flags for a guard that keeps what is permitted: of the place itself, and of those above.
    pub(super) fn keep_flags(self) -> (u32, u32) {
        match self.permits {
            Permits::Nothing => (0, 0),
            Permits::File => (0, abi::NODE_ABOVE_PERMITTED),
            Permits::Directory => (abi::NODE_ABOVE_PERMITTED, abi::NODE_ABOVE_PERMITTED),
        }
    }

    /// Whether a Block rule knows the object by its name alone: renaming what is above frees it. A
    /// file that is held by identity is not freed.
    pub(super) fn by_name_alone(self) -> bool {
        let is_loose = |file: BlocksFile| file.at_all && !file.by_identity;
        self.directory || is_loose(self.process) || is_loose(self.file)
    }
}

/// Every path that is an object.
pub(super) fn ruled(rules: &RuleSet) -> InOrder<'_, Speaks> {
    let mut ruled = InOrder::<Speaks>::default();
    let keeps = rules.keeps_permitted();
    for rule in rules.rules() {
        let (path, matching) = match &rule.object {
            Object::Path(PathObject { path, matching }) => (path, Some(*matching)),
            Object::Directory(Directory { path, .. }) => (path, None),
            _ => continue,
        };
        let speaks = ruled.entry(path.as_str());
        if keeps && rule.permits_programs() {
            let what = if matching.is_some() { Permits::File } else { Permits::Directory };
            speaks.permits = speaks.permits.max(what);
        }
        if rule.action != Action::Block {
            continue;
        }
        let Some(matching) = matching else {
            speaks.directory = true;
            continue;
        };
        let file = match rule.category {
            Category::Process => &mut speaks.process,
            _ => &mut speaks.file,
        };
        file.at_all = true;
        file.by_identity |= matching == Match::Identity;
    }
    ruled
}

// === impl InOrder ===

impl<'r, T: Default> InOrder<'r, T> {
    pub(super) fn entry(&mut self, path: &'r str) -> &mut T {
        let fresh = self.entries.len();
        let at = *self.index.entry(path).or_insert(fresh);
        if at == fresh {
            self.entries.push((path, T::default()));
        }
        &mut self.entries[at].1
    }
}

impl<'r, T> IntoIterator for InOrder<'r, T> {
    type Item = (&'r str, T);
    type IntoIter = std::vec::IntoIter<(&'r str, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use policy_model::{Generation, Rule, RuleId, RulePath, Target};

    use super::*;

    fn set(rules: &[(Category, Match)]) -> RuleSet {
        let rule = |(id, &(category, matching))| {
            let path = RulePath::new("/usr/bin/apt").unwrap();
            let object = Object::Path(PathObject { path, matching });
            Rule::new(RuleId(id), category, Action::Block, object)
        };
        let rules = (1..).zip(rules).map(rule).collect();
        RuleSet::empty(Target::default(), Generation(1)).with_rules(rules)
    }

    #[test]
    fn a_path_comes_once_and_is_held_by_its_twin_of_the_same_category() {
        use Category::{File, Process};
        use Match::{Identity, Name};
        for (rules, by_name_alone) in [
            (&[(Process, Name)][..], true),
            (&[(Process, Name), (Process, Identity)], false),
            (&[(Process, Name), (File, Identity)], true),
            (&[(Process, Name), (Process, Identity), (File, Name)], true),
        ] {
            let set = set(rules);
            let paths: Vec<_> = ruled(&set).into_iter().collect();
            assert!(matches!(paths[..], [("/usr/bin/apt", speaks)] if speaks.blocks()
                && speaks.by_name_alone() == by_name_alone));
        }
    }
}
