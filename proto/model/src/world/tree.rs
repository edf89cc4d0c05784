// SPDX-License-Identifier: Apache-2.0
//! Names: how a path leads to a dentry, and what a dentry is called.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    At, Content, Dentry, DentryId, Inode, InodeId, Kind, MountId, Obstacle, OpenFile, Process,
    ProcessId, Spot, SuperId, World,
};
use crate::path::RulePath;

/// The kernel's MAXSYMLINKS.
const MAX_LINKS: usize = 40;

/// A directory and a name in it, there or not.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) directory: Spot,
    pub(super) name: Arc<str>,
}

// === impl World ===

impl World {
    pub(super) fn inode(&self, inode: InodeId) -> &Inode {
        &self.inodes[inode.0]
    }

    pub(super) fn inode_mut(&mut self, inode: InodeId) -> &mut Inode {
        &mut Arc::make_mut(&mut self.inodes)[inode.0]
    }

    pub(super) fn dentry(&self, dentry: DentryId) -> &Dentry {
        &self.dentries[dentry.0]
    }

    pub(super) fn inode_at(&self, spot: Spot) -> InodeId {
        self.dentry(spot.dentry).inode
    }

    pub(super) fn super_of(&self, dentry: DentryId) -> SuperId {
        self.inode(self.dentry(dentry).inode).super_block
    }

    pub(super) fn process(&self, process: ProcessId) -> &Process {
        &self.processes[process.0]
    }

    pub(super) fn process_mut(&mut self, process: ProcessId) -> &mut Process {
        &mut Arc::make_mut(&mut self.processes)[process.0]
    }

    pub(super) fn add_inode(&mut self, inode: Inode) -> InodeId {
        let inodes = Arc::make_mut(&mut self.inodes);
        inodes.push(inode);
        InodeId(inodes.len() - 1)
    }

    pub(super) fn add_dentry(&mut self, dentry: Dentry) -> DentryId {
        let id = DentryId(self.dentries.len());
        if let (Some((parent, name)), true) = (&dentry.up, dentry.linked) {
            Arc::make_mut(&mut self.children).insert((*parent, name.clone()), id);
        }
        Arc::make_mut(&mut self.dentries).push(dentry);
        id
    }

    /// A new name for an inode; what has the name loses it.
    pub(super) fn put(&mut self, slot: &Slot, inode: InodeId) -> DentryId {
        if let Some(old) = self.child(slot.directory.dentry, &slot.name) {
            self.drop_name(old);
        }
        let up = Some((slot.directory.dentry, slot.name.clone()));
        self.add_dentry(Dentry { up, inode, linked: true })
    }

    pub(super) fn drop_name(&mut self, dentry: DentryId) {
        if let Some((parent, name)) = self.dentry(dentry).up.clone() {
            Arc::make_mut(&mut self.children).remove(&(parent, name));
        }
        Arc::make_mut(&mut self.dentries)[dentry.0].linked = false;
    }

    /// Gives a dentry another place; what was there loses its name.
    pub(super) fn move_dentry(&mut self, dentry: DentryId, to: &Slot) {
        let key = (to.directory.dentry, to.name.clone());
        if let Some(old) = self.children.get(&key).copied().filter(|old| *old != dentry) {
            self.drop_name(old);
        }
        let children = Arc::make_mut(&mut self.children);
        if let Some((parent, name)) = self.dentries[dentry.0].up.clone() {
            children.remove(&(parent, name));
        }
        children.insert(key.clone(), dentry);
        Arc::make_mut(&mut self.dentries)[dentry.0].up = Some(key);
    }

    pub(super) fn swap_dentries(&mut self, one: DentryId, other: DentryId) {
        let dentries = Arc::make_mut(&mut self.dentries);
        let (first, second) = (dentries[one.0].up.clone(), dentries[other.0].up.clone());
        dentries[one.0].up.clone_from(&second);
        dentries[other.0].up.clone_from(&first);
        let children = Arc::make_mut(&mut self.children);
        children.extend(first.map(|key| (key, other)));
        children.extend(second.map(|key| (key, one)));
    }

    pub(super) fn child(&self, directory: DentryId, name: &str) -> Option<DentryId> {
        self.children.get(&(directory, Arc::from(name))).copied()
    }

    pub(super) fn children_of(
        &self,
        directory: DentryId,
    ) -> impl Iterator<Item = (&Arc<str>, DentryId)> {
        let map: &BTreeMap<_, _> = &self.children;
        let from = map.range((directory, Arc::from(""))..);
        from.take_while(move |((of, _), _)| *of == directory).map(|((_, name), id)| (name, *id))
    }

    /// Names that lead to an inode.
    pub(super) fn names_of(&self, inode: InodeId) -> usize {
        self.dentries.iter().filter(|dentry| dentry.linked && dentry.inode == inode).count()
    }

    pub(super) fn is_directory(&self, inode: InodeId) -> bool {
        matches!(self.inode(inode).kind, Kind::Directory { .. })
    }

    /// The bytes of a file, from whichever layer has them.
    pub(super) fn content(&self, inode: InodeId) -> Option<&Content> {
        let inode = self.inode(self.innermost(inode));
        if let Kind::File(content) = &inode.kind { Some(content) } else { None }
    }

    /// What is behind an overlay's file, through all layers; itself for other files.
    pub(super) fn innermost(&self, inode: InodeId) -> InodeId {
        match &self.inode(inode).backing {
            Some(backing) => self.innermost(backing.inode),
            None => inode,
        }
    }

    pub(super) fn is_below(&self, dentry: DentryId, ancestor: DentryId) -> bool {
        let up = |at: &DentryId| self.dentry(*at).up.as_ref().map(|(parent, _)| *parent);
        std::iter::successors(Some(dentry), up).any(|at| at == ancestor)
    }

    /// What the container's rules call this place; none on file systems that they do not know.
    pub(super) fn path_of(&self, dentry: DentryId) -> Option<RulePath> {
        let super_block = self.super_of(dentry);
        let mut below: Vec<&Arc<str>> = Vec::new();
        let mut at = dentry;
        loop {
            let known = self.known.iter().rev();
            let mount = known.filter(|mount| mount.super_block == super_block);
            if let Some(mount) = mount.into_iter().find(|mount| mount.root == at) {
                let names =
                    mount.point.components().chain(below.iter().rev().map(|name| name.as_ref()));
                let text = names.fold(String::new(), |text, name| text + "/" + name);
                let text = if text.is_empty() { "/".into() } else { text };
                return RulePath::new(text).ok();
            }
            let (parent, name) = self.dentry(at).up.as_ref()?;
            below.push(name);
            at = *parent;
        }
    }

    /// Where a process's name for something leads.
    pub(super) fn resolve(&self, who: ProcessId, at: &At) -> Result<Spot, Obstacle> {
        match at {
            At::Path(path) => self.walk(self.process(who).root, path, true),
            At::Open(file) => self.open_file(who, file.0).map(|open| open.spot),
            At::Tree(mount, path) => self.walk(self.root_of(*mount)?, path, true),
        }
    }

    /// A place to create or replace something; the last component is no link that is followed.
    pub(super) fn slot(&self, who: ProcessId, path: &RulePath) -> Result<Slot, Obstacle> {
        let parent = path.parent().ok_or(Obstacle::Busy)?;
        let name = path.components().last().ok_or(Obstacle::Busy)?;
        let directory = self.walk(self.process(who).root, &parent, true)?;
        if !self.is_directory(self.inode_at(directory)) {
            return Err(Obstacle::WrongKind);
        }
        Ok(Slot { directory, name: name.into() })
    }

    /// What lies at a place, mounts aside: what rename, link and unlink act on.
    pub(super) fn occupant(&self, slot: &Slot) -> Option<Spot> {
        let dentry = self.child(slot.directory.dentry, &slot.name)?;
        Some(Spot { dentry, ..slot.directory })
    }

    pub(super) fn open_file(&self, who: ProcessId, file: usize) -> Result<&OpenFile, Obstacle> {
        self.process(who).open.get(file).ok_or(Obstacle::Missing)
    }

    pub(super) fn root_of(&self, mount: MountId) -> Result<Spot, Obstacle> {
        let found = self.mounts.get(mount.0).ok_or(Obstacle::Missing)?;
        Ok(Spot { mount, dentry: found.root })
    }

    /// The topmost of the mounts that lie on a place.
    pub(super) fn cross(&self, mut spot: Spot) -> Spot {
        while let Some(at) = self.mounts.iter().rposition(|mount| mount.at == Some(spot)) {
            spot = Spot { mount: MountId(at), dentry: self.mounts[at].root };
        }
        spot
    }

    fn walk(&self, root: Spot, path: &RulePath, follow: bool) -> Result<Spot, Obstacle> {
        let mut left: Vec<Arc<str>> = path.components().map(Arc::from).collect();
        left.reverse();
        let (mut spot, mut links) = (self.cross(root), 0);
        while let Some(name) = left.pop() {
            let dentry = self.child(spot.dentry, &name).ok_or(Obstacle::Missing)?;
            let next = self.cross(Spot { mount: spot.mount, dentry });
            match &self.inode(self.inode_at(next)).kind {
                Kind::Link(target) if follow || !left.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Obstacle::Loop);
                    }
                    let names: Vec<Arc<str>> = target.components().map(Arc::from).collect();
                    left.extend(names.into_iter().rev());
                    spot = self.cross(root);
                }
                Kind::Directory { .. } => spot = next,
                _ if left.is_empty() => spot = next,
                _ => return Err(Obstacle::WrongKind),
            }
        }
        Ok(spot)
    }
}
