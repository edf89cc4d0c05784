// SPDX-License-Identifier: Apache-2.0
//! The world before anybody acts: a root file system, volumes, and one process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Content, Kind, Mount, Privilege, Process, ProcessId, Spot, SuperKind, World, tree::Slot,
};
use crate::path::RulePath;

/// What the root file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RootKind {
    /// A file system of its own: tmpfs, ext4.
    Plain,
    /// An overlay whose layers are mounted nowhere in the container.
    Overlay,
    /// A share of the host.
    VirtioFs,
}

/// A world to be.
#[derive(Clone, Debug)]
pub struct Image {
    world: World,
    kind: RootKind,
}

// === impl ProcessId ===

impl ProcessId {
    /// The process that every world begins with.
    pub const FIRST: Self = Self(0);
}

// === impl RootKind ===

impl RootKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Overlay, Self::VirtioFs];
}

// === impl Image ===

impl Image {
    /// A root file system with nothing in it.
    #[must_use]
    pub fn new(kind: RootKind) -> Self {
        let mut world = World {
            supers: Arc::default(),
            inodes: Arc::default(),
            dentries: Arc::default(),
            children: Arc::default(),
            mounts: Arc::default(),
            processes: Arc::default(),
            known: Arc::default(),
        };
        world.add_super(SuperKind::Internal);
        // An overlay's files are made in its lower layer, and shown when all are there.
        let root = match kind {
            RootKind::VirtioFs => SuperKind::VirtioFs,
            RootKind::Plain | RootKind::Overlay => SuperKind::Plain,
        };
        let root = world.add_super(root);
        world.attach(root, None);
        let root = Spot { mount: super::MountId(0), dentry: world.supers[root.0].root };
        world.add_process(Process {
            exe: None,
            image: None,
            acts_as: Vec::new(),
            executed: BTreeSet::new(),
            root,
            privileges: BTreeSet::new(),
            memory: BTreeSet::new(),
            open: Vec::new(),
            unshared: false,
        });
        Self { world, kind }
    }

    /// Adds a directory, with those above it.
    #[must_use]
    pub fn directory(mut self, path: &RulePath) -> Self {
        self.make_directory(path);
        self
    }

    /// Adds a directory that anybody may write to.
    #[must_use]
    pub fn public_directory(mut self, path: &RulePath) -> Self {
        let spot = self.make_directory(path);
        let inode = self.world.inode_at(spot);
        self.world.inode_mut(inode).public = true;
        self
    }

    /// Adds a file, executable unless it is data, with the directories above it.
    #[must_use]
    pub fn file(mut self, path: &RulePath, content: Content) -> Self {
        let slot = self.slot(path);
        let super_block = self.world.super_of(slot.directory.dentry);
        let executable = content.form != super::Form::Data;
        let inode = self.world.make_inode(super_block, Kind::File(content));
        self.world.inode_mut(inode).executable = executable;
        self.world.put(&slot, inode);
        self
    }

    /// Adds another name of a file that is there.
    #[must_use]
    pub fn hard_link(mut self, file: &RulePath, path: &RulePath) -> Self {
        let slot = self.slot(path);
        let found = self.world.resolve(ProcessId::FIRST, &super::At::Path(file.clone()));
        let inode = self.world.inode_at(found.expect("the image has the file that it links"));
        self.world.put(&slot, inode);
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symbolic_link(mut self, target: &RulePath, path: &RulePath) -> Self {
        let slot = self.slot(path);
        let super_block = self.world.super_of(slot.directory.dentry);
        let inode = self.world.make_inode(super_block, Kind::Link(target.clone()));
        self.world.put(&slot, inode);
        self
    }

    /// What a file holds that is there.
    #[must_use]
    pub fn content_of(&self, path: &RulePath) -> Option<Content> {
        self.world.content_of(path).cloned()
    }

    /// The world with a process of these privileges, whose executable has this name.
    #[must_use]
    pub fn start(self, exe: Option<RulePath>, privileges: &[Privilege]) -> (World, ProcessId) {
        let mut world = self.world;
        if self.kind == RootKind::Overlay {
            world = shown_by_overlay(world);
        }
        let at = exe.clone().map(super::At::Path);
        let image = at.and_then(|at| world.resolve(ProcessId::FIRST, &at).ok());
        let image = image.map(|spot| world.inode_at(spot));
        let process = world.process_mut(ProcessId::FIRST);
        (process.exe, process.image) = (exe, image);
        process.privileges = privileges.iter().copied().collect();
        (world, ProcessId::FIRST)
    }

    fn make_directory(&mut self, path: &RulePath) -> Spot {
        let mut spot = self.world.process(ProcessId::FIRST).root;
        for name in path.components() {
            let slot = Slot { directory: spot, name: name.into() };
            spot = match self.world.occupant(&slot) {
                Some(found) => found,
                None => {
                    let super_block = self.world.super_of(spot.dentry);
                    let kind = Kind::Directory { merged: false };
                    let inode = self.world.make_inode(super_block, kind);
                    Spot { dentry: self.world.put(&slot, inode), ..spot }
                }
            };
        }
        spot
    }

    fn slot(&mut self, path: &RulePath) -> Slot {
        let parent = path.parent().unwrap_or_else(RulePath::root);
        let name = path.components().last().unwrap_or_default().into();
        Slot { directory: self.make_directory(&parent), name }
    }
}

/// Puts an overlay where its lower layer was: the layer's files keep their inodes, and are found no
/// more.
fn shown_by_overlay(mut world: World) -> World {
    let lower = world.mounts[0].root;
    let overlay = world.add_super(SuperKind::Overlay);
    let root = world.supers[overlay.0].root;
    world.show(overlay, lower, root);
    let mount = Mount { super_block: overlay, root, at: None, read_only: false, no_exec: false };
    Arc::make_mut(&mut world.mounts)[0] = mount;
    world.process_mut(ProcessId::FIRST).root.dentry = root;
    // Nothing in the container leads to the layer by name.
    for inode in Arc::make_mut(&mut world.inodes) {
        if let Some(backing) = &mut inode.backing {
            backing.dentry = None;
        }
    }
    let lower_super = world.super_of(lower);
    let hidden: BTreeMap<_, _> = std::mem::take(Arc::make_mut(&mut world.children));
    *Arc::make_mut(&mut world.children) = hidden
        .into_iter()
        .filter(|((parent, _), _)| world.super_of(*parent) != lower_super)
        .collect();
    world
}
