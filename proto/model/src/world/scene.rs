// SPDX-License-Identifier: Apache-2.0
//! An action under way: what hooks have seen of it so far, and the world as it is by now.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    At, Backing, Content, FileId, Inode, InodeId, Kind, Obstacle, OpenFile, Privilege, Process,
    ProcessId, Ran, Spot, Strength, SuperId, SuperKind, World, tree::Slot,
};
use crate::{
    hook::{Change, Event, File, Open},
    path::RulePath,
};

pub(super) const READ: Open = Open { exec: false, write: false, memory: false };
pub(super) const WRITE: Open = Open { exec: false, write: true, memory: false };
pub(super) const EXEC: Open = Open { exec: true, write: false, memory: false };

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) who: ProcessId,
    pub(super) events: Vec<Event>,
    pub(super) ran: Vec<Ran>,
}

// === impl Scene ===

impl Scene {
    pub(super) fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    pub(super) fn run(&mut self, content: Option<Content>, strength: Strength) {
        self.ran.extend(content.map(|content| Ran { content, strength }));
    }

    pub(super) fn resolve(&self, at: &At) -> Result<Spot, Obstacle> {
        self.world.resolve(self.who, at)
    }

    /// A regular file.
    pub(super) fn resolve_file(&self, at: &At) -> Result<Spot, Obstacle> {
        let spot = self.resolve(at)?;
        match self.world.inode(self.world.inode_at(spot)).kind {
            Kind::File(_) => Ok(spot),
            _ => Err(Obstacle::WrongKind),
        }
    }

    pub(super) fn has(&self, privilege: Privilege) -> bool {
        self.world.process(self.who).privileges.contains(&privilege)
    }

    pub(super) fn need(&self, privilege: Privilege) -> Result<(), Obstacle> {
        if self.has(privilege) { Ok(()) } else { Err(Obstacle::NotPermitted) }
    }

    /// The process may create and remove names here.
    pub(super) fn may_change(&self, directory: Spot) -> Result<(), Obstacle> {
        if self.world.mounts[directory.mount.0].read_only {
            return Err(Obstacle::ReadOnly);
        }
        let public = self.world.inode(self.world.inode_at(directory)).public;
        if public || self.has(Privilege::Root) { Ok(()) } else { Err(Obstacle::NotPermitted) }
    }

    pub(super) fn slot(&self, path: &RulePath) -> Result<Slot, Obstacle> {
        let slot = self.world.slot(self.who, path)?;
        self.may_change(slot.directory)?;
        Ok(slot)
    }

    /// What hooks see of a file.
    pub(super) fn seen(&self, spot: Spot) -> File {
        let inode = self.world.inode_at(spot);
        File { path: self.world.path_of(spot.dentry), ..self.facts(inode) }
    }

    /// What hooks see of a place: what lies there, or that nothing does.
    pub(super) fn seen_at(&self, slot: &Slot) -> File {
        if let Some(spot) = self.world.occupant(slot) {
            return self.seen(spot);
        }
        let directory = self.world.path_of(slot.directory.dentry);
        let path = directory.and_then(|path| {
            RulePath::new(format!("{}/{}", path.as_str().trim_end_matches('/'), slot.name)).ok()
        });
        let super_block = self.world.super_of(slot.directory.dentry);
        File { foreign: self.is_foreign(super_block), ..File::place(path) }
    }

    pub(super) fn facts(&self, id: InodeId) -> File {
        let inode = self.world.inode(id);
        let executed = &self.world.process(self.who).executed;
        let internal = self.world.supers[inode.super_block.0].kind == SuperKind::Internal;
        File {
            path: None,
            identities: inode.held.iter().cloned().collect(),
            programs: inode.programs.iter().cloned().collect(),
            executable: inode.executable,
            permitted: inode.permitted.iter().cloned().collect(),
            tainted: inode.tainted,
            unlinked: self.world.names_of(id) == 0,
            foreign: self.is_foreign(inode.super_block),
            internal,
            directory: self.world.is_directory(id),
            irregular: false,
            executed: !inode.held.is_empty() && executed.contains(&inode.held),
        }
    }

    /// What hooks see of a layer's file: it is opened through a mount of the kernel's own.
    pub(super) fn seen_behind(&self, front: InodeId, backing: &Backing) -> File {
        let path = backing.dentry.and_then(|dentry| self.world.path_of(dentry));
        let unlinked = self.world.names_of(front) == 0;
        File { path, internal: true, unlinked, ..self.facts(backing.inode) }
    }

    /// `file_open`, for the file and for each layer behind it.
    pub(super) fn open(&mut self, spot: Spot, how: Open) -> Result<(), Obstacle> {
        if how.write {
            if self.world.mounts[spot.mount.0].read_only {
                return Err(Obstacle::ReadOnly);
            }
            self.owns(spot)?;
        }
        let event = Event::Open(self.seen(spot), how);
        self.emit(event);
        let mut inode = self.world.inode_at(spot);
        let front = self.world.inode(inode).held.clone();
        if how.write {
            self.world.inode_mut(inode).tainted = true;
            self.world.copy_up(inode);
        }
        while let Some(backing) = self.world.inode(inode).backing.clone() {
            let mut file = self.seen_behind(inode, &backing);
            file.executed |= how.exec && self.world.inode(backing.inode).held == front;
            self.emit(Event::Open(file, how));
            inode = backing.inode;
            if how.write {
                self.world.inode_mut(inode).tainted = true;
                self.world.copy_up(inode);
            }
        }
        Ok(())
    }

    /// The process may write to the file, and may link and move it where others are.
    pub(super) fn owns(&self, spot: Spot) -> Result<(), Obstacle> {
        let public = self.world.inode(self.world.inode_at(spot)).public;
        if public { Ok(()) } else { self.need(Privilege::Root) }
    }

    pub(super) fn keep_open(&mut self, spot: Spot, readable: bool, writable: bool) -> FileId {
        let open = &mut self.world.process_mut(self.who).open;
        open.push(OpenFile { spot, readable, writable });
        FileId(open.len() - 1)
    }

    pub(super) fn learn(&mut self, content: Option<Content>) {
        self.world.process_mut(self.who).memory.extend(content);
    }

    pub(super) fn bytes(&self, content: &Content) -> Result<(), Obstacle> {
        let known = self.world.process(self.who).memory.contains(content);
        if known { Ok(()) } else { Err(Obstacle::NoBytes) }
    }

    pub(super) fn content_at(&self, spot: Spot) -> Option<Content> {
        self.world.content(self.world.inode_at(spot)).cloned()
    }

    /// Opens for writing, creates if there is nothing, and puts these bytes into it.
    pub(super) fn write(&mut self, slot: &Slot, content: &Content) -> Result<Spot, Obstacle> {
        let spot = match self.world.occupant(slot).map(|spot| self.world.cross(spot)) {
            Some(spot) => {
                self.open(spot, WRITE)?;
                spot
            }
            None => {
                let spot = self.create(slot)?;
                self.open(spot, WRITE)?;
                spot
            }
        };
        self.world.fill(self.world.inode_at(spot), content);
        Ok(spot)
    }

    fn create(&mut self, slot: &Slot) -> Result<Spot, Obstacle> {
        let event = Event::Name(Change::Mknod, self.seen_at(slot));
        self.emit(event);
        let super_block = self.world.super_of(slot.directory.dentry);
        let inode = self.world.make_inode(super_block, Kind::File(Content::data(0)));
        self.world.inode_mut(inode).public = !self.has(Privilege::Root);
        let dentry = self.world.put(slot, inode);
        Ok(Spot { dentry, ..slot.directory })
    }

    fn is_foreign(&self, super_block: SuperId) -> bool {
        !self.world.known.iter().any(|mount| mount.super_block == super_block)
    }
}

// === impl World ===

impl World {
    /// A new inode; on an overlay a file has one in the upper layer behind it.
    pub(super) fn make_inode(&mut self, super_block: SuperId, kind: Kind) -> InodeId {
        let overlaid =
            matches!(kind, Kind::File(_)) && self.supers[super_block.0].kind == SuperKind::Overlay;
        let behind = overlaid.then(|| self.bare_inode(LAYERS, kind.clone()));
        let inode = self.bare_inode(super_block, kind);
        self.inode_mut(inode).backing =
            behind.map(|inode| Backing { inode, dentry: None, lower: false, split: false });
        inode
    }

    /// A new inode with nothing behind it.
    pub(super) fn bare_inode(&mut self, super_block: SuperId, kind: Kind) -> InodeId {
        self.add_inode(Inode {
            super_block,
            kind,
            executable: false,
            tainted: false,
            held: BTreeSet::new(),
            programs: BTreeSet::new(),
            sources: BTreeSet::new(),
            permitted: BTreeSet::new(),
            backing: None,
            public: false,
        })
    }

    /// Gives an overlay's file an inode in the upper layer. What is held and what is tainted stays
    /// so.
    pub(super) fn copy_up(&mut self, inode: InodeId) {
        let Some(backing) = self.inode(inode).backing.clone().filter(|backing| backing.lower)
        else {
            return;
        };
        let old = self.inode(backing.inode);
        let old = old.clone();
        let kind =
            self.content(backing.inode).cloned().map_or_else(|| old.kind.clone(), Kind::File);
        let upper = self.bare_inode(LAYERS, kind);
        let copy = self.inode_mut(upper);
        (copy.tainted, copy.held, copy.permitted) = (old.tainted, old.held, old.permitted);
        (copy.programs, copy.sources) = (old.programs, old.sources);
        self.inode_mut(inode).backing =
            Some(Backing { inode: upper, dentry: None, lower: false, split: backing.split });
    }

    /// Puts bytes into a file.
    pub(super) fn fill(&mut self, inode: InodeId, content: &Content) {
        let inode = self.innermost(inode);
        self.inode_mut(inode).kind = Kind::File(content.clone());
    }

    pub(super) fn add_process(&mut self, process: Process) -> ProcessId {
        let processes = Arc::make_mut(&mut self.processes);
        processes.push(process);
        ProcessId(processes.len() - 1)
    }
}

/// The super block of what lies in layers and in memory.
pub(super) const LAYERS: SuperId = SuperId(0);
