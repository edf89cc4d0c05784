// SPDX-License-Identifier: Apache-2.0
//! Changing names, and what files hold.

use super::{
    Action, At, Content, Kind, Obstacle, Privilege, Spot, SuperKind,
    scene::{READ, Scene, WRITE},
    tree::Slot,
};
use crate::{
    hook::{Change, Event},
    path::RulePath,
};

// === impl Scene ===

impl Scene {
    pub(super) fn perform_on_names(&mut self, action: &Action) -> Result<(), Obstacle> {
        match action {
            Action::Rename(from, to) => self.rename(from, to),
            Action::Exchange(one, other) => self.exchange(one, other),
            Action::Link(from, to) => self.link(from, to),
            Action::Symlink(target, at) => {
                self.make(at, Change::Symlink, Kind::Link(target.clone()))
            }
            Action::Mkdir(at) => self.make(at, Change::Mkdir, Kind::Directory { merged: false }),
            Action::Unlink(path) => self.remove(path, Change::Unlink),
            Action::Rmdir(path) => self.remove(path, Change::Rmdir),
            Action::Chmod(at) => self.chmod(at),
            Action::Write(path, content) => {
                self.bytes(content)?;
                self.write_at(path, content).map(drop)
            }
            Action::Obtain(path, content) => self.write_at(path, content).map(drop),
            Action::WriteOpen(file, content) => self.write_open(file.0, content),
            Action::Copy(from, to) => self.copy(from, to),
            Action::OpenUnnamed(directory) => self.open_unnamed(directory),
            _ => unreachable!("perform() sends only these here"),
        }
    }

    fn write_at(&mut self, path: &RulePath, content: &Content) -> Result<Spot, Obstacle> {
        let slot = self.world.slot(self.who, path)?;
        if self.world.occupant(&slot).is_none() {
            self.may_change(slot.directory)?;
        }
        self.write(&slot, content)
    }

    /// What is renamed must be named, and by a mount of the same super block.
    fn rename(&mut self, from: &At, to: &RulePath) -> Result<(), Obstacle> {
        let At::Path(from) = from else { return Err(Obstacle::WrongKind) };
        let (source, target) = (self.slot(from)?, self.slot(to)?);
        let old = self.world.occupant(&source).ok_or(Obstacle::Missing)?;
        self.may_move(old, target.directory)?;
        let new = self.world.occupant(&target);
        if let Some(new) = new {
            self.may_replace(old, new)?;
        }
        let event =
            Event::Rename { old: self.seen(old), new: self.seen_at(&target), exchange: false };
        self.emit(event);
        self.world.copy_up(self.world.inode_at(old));
        if new.is_none_or(|new| self.world.inode_at(new) != self.world.inode_at(old)) {
            self.world.move_dentry(old.dentry, &target);
        }
        Ok(())
    }

    fn exchange(&mut self, one: &RulePath, other: &RulePath) -> Result<(), Obstacle> {
        let (first, second) = (self.slot(one)?, self.slot(other)?);
        let old = self.world.occupant(&first).ok_or(Obstacle::Missing)?;
        let new = self.world.occupant(&second).ok_or(Obstacle::Missing)?;
        self.may_move(old, second.directory)?;
        self.may_move(new, first.directory)?;
        let event = Event::Rename { old: self.seen(old), new: self.seen(new), exchange: true };
        self.emit(event);
        for spot in [old, new] {
            self.world.copy_up(self.world.inode_at(spot));
        }
        self.world.swap_dentries(old.dentry, new.dentry);
        Ok(())
    }

    fn may_move(&self, spot: Spot, to: Spot) -> Result<(), Obstacle> {
        self.owns(spot)?;
        if spot.mount != to.mount {
            return Err(Obstacle::CrossDevice);
        }
        if self.world.is_below(to.dentry, spot.dentry) {
            return Err(Obstacle::WrongKind);
        }
        if self.world.mounts.iter().any(|mount| mount.at == Some(spot)) {
            return Err(Obstacle::Busy);
        }
        match self.world.inode(self.world.inode_at(spot)).kind {
            Kind::Directory { merged: true } => Err(Obstacle::CrossDevice),
            _ => Ok(()),
        }
    }

    fn may_replace(&self, old: Spot, new: Spot) -> Result<(), Obstacle> {
        self.owns(new)?;
        let directory = |spot| self.world.is_directory(self.world.inode_at(spot));
        if directory(old) != directory(new) {
            return Err(Obstacle::WrongKind);
        }
        let filled = self.world.children_of(new.dentry).next().is_some();
        if filled { Err(Obstacle::Busy) } else { Ok(()) }
    }

    fn link(&mut self, from: &At, to: &RulePath) -> Result<(), Obstacle> {
        let old = match from {
            At::Path(path) => {
                let slot = self.world.slot(self.who, path)?;
                self.world.occupant(&slot).ok_or(Obstacle::Missing)?
            }
            At::Open(_) | At::Tree(..) => self.resolve_file(from)?,
        };
        let target = self.slot(to)?;
        if self.world.occupant(&target).is_some() {
            return Err(Obstacle::Exists);
        }
        let inode = self.world.inode_at(old);
        if self.world.is_directory(inode) {
            return Err(Obstacle::NotPermitted);
        }
        // protected_hardlinks
        self.owns(old)?;
        if self.world.super_of(old.dentry) != self.world.super_of(target.directory.dentry)
            || matches!(from, At::Path(_)) && old.mount != target.directory.mount
        {
            return Err(Obstacle::CrossDevice);
        }
        let event = Event::Link { old: self.seen(old), new: self.seen_at(&target) };
        self.emit(event);
        self.world.copy_up(inode);
        self.world.put(&target, inode);
        Ok(())
    }

    fn make(&mut self, at: &RulePath, change: Change, kind: Kind) -> Result<(), Obstacle> {
        let slot = self.slot(at)?;
        if self.world.occupant(&slot).is_some() {
            return Err(Obstacle::Exists);
        }
        let event = Event::Name(change, self.seen_at(&slot));
        self.emit(event);
        let super_block = self.world.super_of(slot.directory.dentry);
        let inode = self.world.make_inode(super_block, kind);
        self.world.inode_mut(inode).public = !self.has(Privilege::Root);
        self.world.put(&slot, inode);
        Ok(())
    }

    fn remove(&mut self, path: &RulePath, change: Change) -> Result<(), Obstacle> {
        let slot = self.slot(path)?;
        let spot = self.world.occupant(&slot).ok_or(Obstacle::Missing)?;
        self.owns(spot)?;
        let directory = self.world.is_directory(self.world.inode_at(spot));
        if directory != (change == Change::Rmdir) {
            return Err(Obstacle::WrongKind);
        }
        let mounted = self.world.mounts.iter().any(|mount| mount.at == Some(spot));
        if mounted || self.world.children_of(spot.dentry).next().is_some() {
            return Err(Obstacle::Busy);
        }
        let event = Event::Name(change, self.seen(spot));
        self.emit(event);
        self.world.drop_name(spot.dentry);
        Ok(())
    }

    fn chmod(&mut self, at: &At) -> Result<(), Obstacle> {
        let spot = self.resolve(at)?;
        self.owns(spot)?;
        if self.world.mounts[spot.mount.0].read_only {
            return Err(Obstacle::ReadOnly);
        }
        let event = Event::Name(Change::Chmod, self.seen(spot));
        self.emit(event);
        let inode = self.world.inode_at(spot);
        self.world.copy_up(inode);
        self.world.inode_mut(inode).executable = true;
        Ok(())
    }

    fn write_open(&mut self, file: usize, content: &Content) -> Result<(), Obstacle> {
        self.bytes(content)?;
        let open = self.world.open_file(self.who, file)?.clone();
        if !open.writable {
            return Err(Obstacle::NotPermitted);
        }
        let inode = self.world.inode_at(open.spot);
        self.world.fill(inode, content);
        // As by fchmod(2): whoever writes a program wants to run it.
        let event = Event::Name(Change::Chmod, self.seen(open.spot));
        self.emit(event);
        self.world.inode_mut(inode).executable = true;
        Ok(())
    }

    /// With the mode, as cp(1) gives it to what it creates.
    fn copy(&mut self, from: &At, to: &RulePath) -> Result<(), Obstacle> {
        let spot = self.resolve_file(from)?;
        let content = self.content_at(spot).ok_or(Obstacle::WrongKind)?;
        self.open(spot, READ)?;
        self.learn(Some(content.clone()));
        let slot = self.world.slot(self.who, to)?;
        let fresh = self.world.occupant(&slot).is_none();
        let copied = self.write_at(to, &content)?;
        if fresh {
            let executable = self.world.inode(self.world.inode_at(spot)).executable;
            let inode = self.world.inode_at(copied);
            self.world.inode_mut(inode).executable = executable;
        }
        Ok(())
    }

    /// As the kernel, it opens the file in the directory, under a name that no look-up finds.
    fn open_unnamed(&mut self, directory: &RulePath) -> Result<(), Obstacle> {
        let spot = self.resolve(&At::Path(directory.clone()))?;
        self.may_change(spot)?;
        let super_block = self.world.super_of(spot.dentry);
        if self.world.supers[super_block.0].kind == SuperKind::VirtioFs {
            return Err(Obstacle::NotSupported);
        }
        let inode = self.world.make_inode(super_block, Kind::File(Content::data(0)));
        let slot = Slot { directory: spot, name: format!("#{}", inode.0).into() };
        let up = Some((slot.directory.dentry, slot.name));
        let dentry = self.world.add_dentry(super::Dentry { up, inode, linked: false });
        let unnamed = Spot { dentry, ..spot };
        self.world.inode_mut(inode).public = true;
        self.open(unnamed, WRITE)?;
        self.keep_open(unnamed, true, true);
        Ok(())
    }
}
