// SPDX-License-Identifier: Apache-2.0
//! Places of super blocks: where the paths of the rules lie, and how the container names them.
//!
//! The kernel walks from a file to the root of its super block, so a rule's path is mapped to
//! (s_dev, path in that super block) by the container's mounts. One place may have several names
//! in the container (bind mounts), and a rule on any of them speaks of it.

use std::collections::{HashMap, HashSet};

use guest_bpf::abi;
use policy_model::{
    Action, Category, Directory, Match, Object, PathObject, Rule, RulePath, RuleSet, Source,
};

use super::{LowerError, MAX_PLACES};
use crate::containers::Mount;

/// A directory or file of a super block that some rule needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the directory above, none for the super block's root.
    pub parent: Option<usize>,
    /// s_dev of the super block.
    pub dev: u32,
    /// Name in its directory, empty for the root.
    pub name: String,
    /// Components below the root.
    pub depth: usize,
    /// `abi::NODE_*`: which Block rules have their object here or below, who writes what is in it.
    pub flags: u32,
}

/// All places of a rule set, parents before their children.
#[derive(Debug)]
pub struct Places<'a> {
    places: Vec<Place>,
    index: HashMap<(u32, String), usize>,
    mounts: &'a [Mount],
}

// === impl Places ===

impl<'a> Places<'a> {
    /// The roots of all mounts and the paths of all rules, with all directories above them.
    pub(super) fn of(rules: &RuleSet, mounts: &'a [Mount]) -> Result<Self, LowerError> {
        let mut places = Self { places: Vec::new(), index: HashMap::new(), mounts };
        for mount in mounts {
            let at = places.insert(mount.dev, &mount.root)?;
            places.add_flags(at, if mount.atomic { abi::NODE_ATOMIC } else { 0 });
        }
        for path in paths_of(rules) {
            places.insert_name(path)?;
        }
        let held = held_files(rules);
        for rule in rules.rules().iter().filter(|rule| rule.action == Action::Block) {
            match &rule.object {
                Object::Path(PathObject { path, .. }) => {
                    places.mark(path, !held.contains(&(rule.category, path)))?;
                }
                Object::Directory(Directory { path, .. }) => places.mark(path, true)?,
                _ => {}
            }
        }
        Ok(places)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Every place with its names in the container.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Place, Vec<RulePath>)> {
        let mut paths: Vec<Option<(u32, &str)>> = vec![None; self.places.len()];
        for ((dev, path), at) in &self.index {
            if let Some(entry) = paths.get_mut(*at) {
                *entry = Some((*dev, path));
            }
        }
        self.places.iter().zip(paths).map(|(place, path)| {
            let names = path.map(|(dev, path)| self.names_of(dev, path)).unwrap_or_default();
            (place, names)
        })
    }

    /// Says of a Block rule's object, and of every directory that the container goes through to it,
    /// what renaming or covering them would do.
    fn mark(&mut self, path: &RulePath, by_name_alone: bool) -> Result<(), LowerError> {
        let names = if by_name_alone { abi::NODE_NAMES_ONLY } else { 0 };
        let at = self.insert_name(path)?;
        self.add_flags(at, names);
        let above = names | abi::NODE_ABOVE_BLOCK;
        let mut next = path.parent();
        while let Some(directory) = next {
            let at = self.insert_name(&directory)?;
            if !self.add_flags(at, above) {
                break; // those above were marked with it
            }
            next = directory.parent();
        }
        Ok(())
    }

    /// Whether this changed anything.
    fn add_flags(&mut self, at: usize, flags: u32) -> bool {
        let Some(place) = self.places.get_mut(at) else { return false };
        let changes = place.flags & flags != flags;
        place.flags |= flags;
        changes
    }

    /// The place that the container knows under this name.
    fn insert_name(&mut self, path: &RulePath) -> Result<usize, LowerError> {
        let mount = self.mount_of(path).ok_or_else(|| LowerError::NoMount(path.clone()))?;
        let inside = join(&mount.root, path.below(&mount.point).unwrap_or_default());
        self.insert(mount.dev, &inside)
    }

    /// The mount that is seen at this path: of those at or above it the last one made.
    fn mount_of(&self, path: &RulePath) -> Option<&'a Mount> {
        self.mounts.iter().rev().find(|mount| path.below(&mount.point).is_some())
    }

    fn names_of(&self, dev: u32, path: &str) -> Vec<RulePath> {
        let mut names: Vec<_> = self
            .mounts
            .iter()
            .filter(|mount| mount.dev == dev)
            .filter_map(|mount| {
                let rest = below(path, &mount.root)?;
                let name = RulePath::new(join(mount.point.as_str(), rest)).ok()?;
                self.mount_of(&name).is_some_and(|seen| std::ptr::eq(seen, mount)).then_some(name)
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn insert(&mut self, dev: u32, path: &str) -> Result<usize, LowerError> {
        let key = (dev, path.to_owned());
        if let Some(at) = self.index.get(&key) {
            return Ok(*at);
        }
        let (parent, name) = match path.rsplit_once('/') {
            Some((_, "")) | None => (None, ""),
            Some(("", name)) => (Some(self.insert(dev, "/")?), name),
            Some((above, name)) => (Some(self.insert(dev, above)?), name),
        };
        let depth = parent.and_then(|at| self.places.get(at)).map_or(0, |above| above.depth + 1);
        self.check_room(path, depth)?;
        let at = self.places.len();
        self.places.push(Place { parent, dev, name: name.to_owned(), depth, flags: 0 });
        self.index.insert(key, at);
        Ok(at)
    }

    fn check_room(&self, path: &str, depth: usize) -> Result<(), LowerError> {
        let most = abi::MAX_DEPTH;
        if depth > most {
            return Err(LowerError::TooDeep { path: path.to_owned(), depth, most });
        }
        match self.places.len() {
            MAX_PLACES => {
                let got = MAX_PLACES + 1;
                Err(LowerError::TooMany { what: "places", got, most: MAX_PLACES })
            }
            _ => Ok(()),
        }
    }
}

/// Files that Block rules hold by identity: renaming what is above them frees nothing.
fn held_files(rules: &RuleSet) -> HashSet<(Category, &RulePath)> {
    let held = |rule: &'_ Rule| rule.action == Action::Block;
    let files =
        rules.rules().iter().filter(|rule| held(rule)).filter_map(|rule| match &rule.object {
            Object::Path(PathObject { path, matching: Match::Identity }) => {
                Some((rule.category, path))
            }
            _ => None,
        });
    files.collect()
}

fn paths_of(rules: &RuleSet) -> impl Iterator<Item = &RulePath> {
    let objects = rules.rules().iter().filter_map(|rule| match &rule.object {
        Object::Path(object) => Some(&object.path),
        Object::Directory(directory) => Some(&directory.path),
        _ => None,
    });
    let sources = rules.rules().iter().flat_map(|rule| &rule.sources).map(|source| match source {
        Source::Path(path) => path,
        Source::Directory(directory) => &directory.path,
    });
    objects.chain(sources)
}

fn join(directory: &str, rest: &str) -> String {
    match (directory, rest) {
        (directory, "") => directory.to_owned(),
        ("/", rest) => format!("/{rest}"),
        (directory, rest) => format!("{directory}/{rest}"),
    }
}

fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    if directory == "/" {
        return path.strip_prefix('/');
    }
    let rest = path.strip_prefix(directory)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}
