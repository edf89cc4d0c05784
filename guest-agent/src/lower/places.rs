// SPDX-License-Identifier: Apache-2.0
//! Places of super blocks: where the paths of the rules lie, and how the container names them.
//!
//! The kernel walks from a file to the root of its super block, so a rule's path is mapped to
//! (s_dev, path in that super block) by the container's mounts. One place may have several names
//! in the container (bind mounts), and a rule on any of them speaks of it. One path may have several
//! places, if the container has changed its mounts since its registration: rules speak of all.

use std::collections::{BTreeMap, HashMap};

use guest_bpf::abi;
use policy_model::{Directory, RuleSet, Source};

use super::{
    LowerError, MAX_NAMES, MAX_PLACES,
    ruled::{InOrder, ruled},
    view::{View, moved},
};
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
    /// By device and path in its super block.
    index: HashMap<u32, HashMap<String, usize>>,
    views: Vec<View<'a>>,
    /// Paths of rules that have no place in one of the views, and why.
    nowhere: BTreeMap<String, String>,
}

// === impl Places ===

impl<'a> Places<'a> {
    /// The roots of all mounts and the paths of all rules, with all directories above them.
    pub(super) fn of(rules: &RuleSet, views: &'a [Vec<Mount>]) -> Result<Self, LowerError> {
        let mut places = Self {
            places: Vec::new(),
            index: HashMap::new(),
            views: views.iter().map(|mounts| View::new(mounts)).collect(),
            nowhere: BTreeMap::new(),
        };
        for mount in views.iter().flatten() {
            let at = places.insert(mount.dev, mount.root.as_deref().unwrap_or("/"))?;
            places.add_flags(&[at], if mount.atomic { abi::NODE_ATOMIC } else { 0 });
        }
        let mut above = InOrder::default();
        for (path, speaks) in ruled(rules) {
            let at = places.insert_name(path)?;
            let (mut here, mut over) = speaks.keep_flags();
            if speaks.blocks() {
                let names = if speaks.by_name_alone() { abi::NODE_NAMES_ONLY } else { 0 };
                here |= names;
                over |= names | abi::NODE_ABOVE_BLOCK;
            }
            places.add_flags(&at, here);
            if let Some(directory) = parent_of(path).filter(|_| over != 0) {
                *above.entry(directory) |= over;
            }
        }
        let mut marked = HashMap::new();
        for (directory, flags) in above {
            places.mark(directory, flags, &mut marked)?;
        }
        for source in rules.rules().iter().flat_map(|rule| &rule.sources) {
            let (Source::Path(path) | Source::Directory(Directory { path, .. })) = source;
            places.insert_name(path.as_str())?;
        }
        Ok(places)
    }

    /// Paths of rules that have no place in one of the views, and why.
    pub(super) fn take_nowhere(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.nowhere)
    }

    /// Visits every place with its names in the container.
    ///
    /// # Errors
    /// If a container has so many mounts of one directory that there are too many.
    pub(super) fn visit(self, mut visit: impl FnMut(Place, &[String])) -> Result<(), LowerError> {
        let Self { places, index, views, .. } = self;
        let mut paths = vec![String::new(); places.len()];
        for (path, at) in index.into_values().flatten() {
            if let Some(entry) = paths.get_mut(at) {
                *entry = path;
            }
        }
        let mut got = 0;
        for (place, path) in places.into_iter().zip(paths) {
            let names = views.iter().flat_map(|view| view.names_of(place.dev, &path));
            let mut names: Vec<_> = names.take(MAX_NAMES + 1 - got).collect();
            got += names.len();
            if got > MAX_NAMES {
                return Err(LowerError::TooMany { what: "names of places", got, most: MAX_NAMES });
            }
            names.sort_unstable();
            names.dedup();
            visit(place, &names);
        }
        Ok(())
    }

    /// Says of this directory, and of every one that the container goes through to it, what renaming
    /// or covering it would do.
    fn mark<'r>(
        &mut self,
        directory: &'r str,
        flags: u32,
        marked: &mut HashMap<&'r str, u32>,
    ) -> Result<(), LowerError> {
        let mut next = Some(directory);
        while let Some(directory) = next {
            // By name: the way to another name of the same place is another one.
            let known = marked.entry(directory).or_default();
            if *known & flags == flags {
                break; // those above were marked with it
            }
            *known |= flags;
            let at = self.insert_name(directory)?;
            self.add_flags(&at, flags);
            next = parent_of(directory);
        }
        Ok(())
    }

    fn add_flags(&mut self, places: &[usize], flags: u32) {
        for at in places {
            if let Some(place) = self.places.get_mut(*at) {
                place.flags |= flags;
            }
        }
    }

    /// The places that the container knows under this name. In the first view there must be one:
    /// what follows is what the container did to its mounts.
    fn insert_name(&mut self, path: &str) -> Result<Vec<usize>, LowerError> {
        let mut found = Vec::new();
        for number in 0..self.views.len() {
            let mount = self.views.get(number).and_then(|view| view.mount_of(path));
            let mount = mount.ok_or_else(|| LowerError::NoMount(path.to_owned()))?;
            let Some(root) = &mount.root else {
                self.tell_nowhere(path, format!("in {} at {}", mount.fs_type, mount.point));
                continue;
            };
            let inside = moved(path, mount.point.as_str(), root);
            match self.insert(mount.dev, inside.as_deref().unwrap_or(root)) {
                Ok(at) => found.push(at),
                Err(error @ LowerError::TooDeep { .. }) if number > 0 => {
                    self.tell_nowhere(path, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn tell_nowhere(&mut self, path: &str, why: String) {
        self.nowhere.entry(path.to_owned()).or_insert(why);
    }

    fn insert(&mut self, dev: u32, path: &str) -> Result<usize, LowerError> {
        if let Some(at) = self.index.get(&dev).and_then(|by_path| by_path.get(path)) {
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
        self.index.entry(dev).or_default().insert(path.to_owned(), at);
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

/// The directory above, none for the root.
pub(super) fn parent_of(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        (_, "") => None,
        ("", _) => Some("/"),
        (parent, _) => Some(parent),
    }
}
