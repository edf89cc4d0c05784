// SPDX-License-Identifier: Apache-2.0
//! Classes: what is said of a place, as a small number.
//!
//! Two places belong to one class if the same rules speak of them, as objects and as sources.
//! Directory rules are spread downwards here, so that the kernel finds in one node all that holds.

use std::collections::HashMap;

use policy_model::{Directory, Match, Object, RulePath, RuleSet, Source};

use super::{judge::Judge, places::parent_of};
use guest_bpf::abi;

/// How a rule speaks of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Member {
    /// The rule of this index has the place as its object.
    Object(usize),
    /// The source of this number covers the place.
    Source(u32),
}

/// Members of a class, ascending.
pub(super) type Members = Vec<Member>;

/// Interns classes while the places are visited.
pub(super) struct Classes<'r> {
    exact: ByPath<'r>,
    flat: ByPath<'r>,
    recursive: ByPath<'r>,
    sources: HashMap<&'r Source, u32>,
    interned: HashMap<Members, u32>,
}

/// What is said at a path of the container.
type ByPath<'r> = HashMap<&'r str, Members>;

// === impl Classes ===

impl<'r> Classes<'r> {
    pub(super) fn of(rules: &'r RuleSet) -> Self {
        let mut classes = Self {
            exact: HashMap::new(),
            flat: HashMap::new(),
            recursive: HashMap::new(),
            sources: HashMap::new(),
            interned: HashMap::new(),
        };
        for (index, rule) in rules.rules().iter().enumerate() {
            match &rule.object {
                Object::Path(object) if object.matching == Match::Name => {
                    classes.add_path(&object.path, Member::Object(index));
                }
                Object::Directory(dir) => classes.add_directory(dir, Member::Object(index)),
                _ => {}
            }
            for source in &rule.sources {
                classes.add_source(source);
            }
        }
        classes
    }

    /// Classes of a place that the container knows under these names.
    pub(super) fn node_of(&mut self, names: &[String]) -> abi::Node {
        let gather = |add: fn(&Self, &str, &mut Members)| {
            let mut members = Members::new();
            names.iter().for_each(|name| add(self, name, &mut members));
            members
        };
        let [exact, child, deep] = [Self::of_object, Self::of_child, Self::of_deep].map(gather);
        abi::Node {
            exact: self.intern(exact),
            child: self.intern(child),
            deep: self.intern(deep),
            ..abi::Node::default()
        }
    }

    /// Members of each class by its number, (class, subject) of those that are sources, and the
    /// judge who knows the subjects.
    pub(super) fn finish(self, rules: &'r RuleSet) -> (Vec<Members>, Vec<(u32, u32)>, Judge<'r>) {
        let mut members: Vec<_> = self.interned.into_iter().collect();
        members.sort_by_key(|(_, class)| *class);
        let members: Vec<_> = members.into_iter().map(|(members, _)| members).collect();
        let mut judge = Judge::new(rules, &self.sources);
        let mut subjects = Vec::new();
        for (class, members) in (1..).zip(&members) {
            let sources = members.iter().filter_map(|member| match member {
                Member::Source(source) => Some(*source),
                Member::Object(_) => None,
            });
            if let Some(subject) = judge.subject_of(sources.collect()) {
                subjects.push((class, subject));
            }
        }
        (members, subjects, judge)
    }

    fn add_path(&mut self, path: &'r RulePath, member: Member) {
        self.exact.entry(path.as_str()).or_default().push(member);
    }

    fn add_directory(&mut self, directory: &'r Directory, member: Member) {
        let by_path = if directory.recursive { &mut self.recursive } else { &mut self.flat };
        by_path.entry(directory.path.as_str()).or_default().push(member);
    }

    fn add_source(&mut self, source: &'r Source) {
        if self.sources.contains_key(source) {
            return;
        }
        let number = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        self.sources.insert(source, number);
        match source {
            Source::Path(path) => self.add_path(path, Member::Source(number)),
            Source::Directory(dir) => self.add_directory(dir, Member::Source(number)),
        }
    }

    fn of_object(&self, path: &str, members: &mut Members) {
        add(&self.exact, path, members);
        if let Some(parent) = parent_of(path) {
            add(&self.flat, parent, members);
        }
        self.of_child(path, members);
    }

    fn of_child(&self, path: &str, members: &mut Members) {
        add(&self.flat, path, members);
        self.of_deep(path, members);
    }

    fn of_deep(&self, path: &str, members: &mut Members) {
        if self.recursive.is_empty() {
            return;
        }
        let mut next = Some(path);
        while let Some(directory) = next {
            add(&self.recursive, directory, members);
            next = parent_of(directory);
        }
    }

    fn intern(&mut self, mut members: Members) -> u32 {
        members.sort_unstable();
        members.dedup();
        if members.is_empty() {
            return 0;
        }
        let next = u32::try_from(self.interned.len() + 1).unwrap_or(u32::MAX);
        *self.interned.entry(members).or_insert(next)
    }
}

fn add(map: &ByPath<'_>, path: &str, members: &mut Members) {
    members.extend(map.get(path).into_iter().flatten());
}
