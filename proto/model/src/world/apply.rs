// SPDX-License-Identifier: Apache-2.0
//! Putting a rule set into force: what the agent finds at that time.

mod held;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{InodeId, KnownMount, ProcessId, Spot, World};
use crate::{
    limits::MAX_IDENTITY_LINKS,
    object::{Match, Object},
    path::RulePath,
    rule_set::RuleSet,
};

// === impl World ===

impl World {
    /// Finds the container's mounts, and holds the inodes that rules name by identity, with all
    /// files of the container that hold the same. The first process is the container's.
    #[must_use]
    pub fn apply(&self, rules: &RuleSet) -> Self {
        self.apply_as(rules, true)
    }

    /// As [`World::apply`] without the files of equal content: what an engine does that does not
    /// hash.
    #[must_use]
    pub fn apply_without_content(&self, rules: &RuleSet) -> Self {
        self.apply_as(rules, false)
    }

    fn apply_as(&self, rules: &RuleSet, equal_content: bool) -> Self {
        let mut world = self.clone();
        world.known = Arc::new(world.mounts_by_name());
        let identities = rules.rules().iter().filter_map(|rule| match &rule.object {
            Object::Path(object) if object.matching == Match::Identity => Some(&object.path),
            _ => None,
        });
        let identities: BTreeSet<_> = identities.collect();
        // What was held before goes on being held, wherever it is by now.
        for inode in Arc::make_mut(&mut world.inodes) {
            inode.held.retain(|path| identities.contains(path));
        }
        world.note_permitted(rules);
        world.note_programs(rules);
        let targets: Vec<_> =
            identities.into_iter().filter_map(|path| Some((path, world.target(path)?))).collect();
        let all = world.files();
        // A set knows nothing of what was executed under another one.
        Arc::make_mut(&mut world.processes).iter_mut().for_each(|process| process.executed.clear());
        for (path, target) in targets {
            world.hold(target, path);
            let content = world.content(target).cloned();
            for twin in all.iter().copied().filter(|_| equal_content) {
                if world.content(twin) == content.as_ref() && world.is_holdable(twin) {
                    world.hold(twin, path);
                }
            }
        }
        world.note_sources(rules, equal_content);
        world
    }

    /// Notes something of a file and of what is behind it.
    fn note(&mut self, mut inode: InodeId, note: impl Fn(&mut super::Inode) -> bool) {
        loop {
            note(self.inode_mut(inode));
            let Some(backing) = &self.inode(inode).backing else { return };
            inode = backing.inode;
        }
    }

    /// The inode of a rule's path, if it has one that can be held: no component is a link, and it
    /// has not too many names.
    fn target(&self, path: &RulePath) -> Option<InodeId> {
        let mut spot = self.cross(self.process(ProcessId::FIRST).root);
        for name in path.components() {
            let dentry = self.child(spot.dentry, name)?;
            spot = self.cross(Spot { dentry, ..spot });
        }
        let inode = self.inode_at(spot);
        (self.content(inode).is_some() && self.is_holdable(inode)).then_some(inode)
    }

    fn is_holdable(&self, inode: InodeId) -> bool {
        self.names_of(inode) as u64 <= MAX_IDENTITY_LINKS
    }

    fn hold(&mut self, inode: InodeId, path: &RulePath) {
        self.note(inode, |inode| inode.held.insert(path.clone()));
    }

    /// Every file that a name in the container leads to.
    fn files(&self) -> Vec<InodeId> {
        let known: BTreeSet<_> = self.known.iter().map(|mount| mount.super_block).collect();
        let named = self.dentries.iter().filter(|dentry| dentry.linked).map(|dentry| dentry.inode);
        let inodes: BTreeSet<_> = named.collect();
        let inodes = inodes.into_iter().filter(|inode| {
            known.contains(&self.inode(*inode).super_block) && self.content(*inode).is_some()
        });
        inodes.collect()
    }

    /// Attached mounts with their places, as mountinfo lists them.
    fn mounts_by_name(&self) -> Vec<KnownMount> {
        let mut points: BTreeMap<usize, RulePath> = BTreeMap::from([(0, RulePath::root())]);
        let mut known = Vec::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            let below = mount.at.and_then(|at| {
                let parent = points.get(&at.mount.0)?;
                let names = self.names_between(self.mounts[at.mount.0].root, at)?;
                RulePath::new(format!("{}{names}", parent.as_str().trim_end_matches('/'))).ok()
            });
            let Some(point) = points.get(&index).cloned().or(below) else { continue };
            points.insert(index, point.clone());
            known.push(KnownMount { super_block: mount.super_block, root: mount.root, point });
        }
        known
    }

    fn names_between(&self, root: super::DentryId, spot: Spot) -> Option<String> {
        let mut names = String::new();
        let mut at = spot.dentry;
        while at != root {
            let (parent, name) = self.dentry(at).up.as_ref()?;
            names = format!("/{name}{names}");
            at = *parent;
        }
        Some(names)
    }
}
