// SPDX-License-Identifier: Apache-2.0
//! Mounts, overlays, detached trees, roots and namespaces.

use std::sync::Arc;

use super::{
    Action, At, Backing, Content, Dentry, DentryId, Kind, Mount, MountId, Obstacle, Privilege,
    Spot, SuperBlock, SuperId, SuperKind, World, scene::Scene,
};
use crate::{hook::Event, path::RulePath};

// === impl Scene ===

impl Scene {
    pub(super) fn perform_on_mounts(&mut self, action: &Action) -> Result<(), Obstacle> {
        match action {
            Action::Bind(from, at) => {
                let from = self.resolve(from)?;
                let at = self.mount_point(from, at)?;
                self.world.bind(from, Some(at));
                Ok(())
            }
            Action::Overlay(lower, at) => {
                let lower = self.resolve(lower)?;
                let at = self.mount_point(lower, at)?;
                self.emit(Event::KernMount("overlay"));
                let super_block = self.world.overlay_of(lower);
                self.world.attach(super_block, Some(at));
                Ok(())
            }
            Action::Cover(at) => self.mount_type("tmpfs", at),
            Action::MountType(kind, at) => self.mount_type(kind, at),
            Action::CloneTree(from) => {
                let from = self.resolve(from)?;
                self.need_mount()?;
                self.world.bind(from, None);
                Ok(())
            }
            Action::DetachedOverlay(lower) => {
                let lower = self.resolve(lower)?;
                self.need_mount()?;
                self.emit(Event::KernMount("overlay"));
                let super_block = self.world.overlay_of(lower);
                self.world.attach(super_block, None);
                Ok(())
            }
            Action::Attach(mount, at) => self.attach_tree(*mount, at),
            Action::Chroot(at) => {
                self.need(Privilege::Chroot)?;
                let root = self.resolve(at)?;
                self.world.process_mut(self.who).root = root;
                Ok(())
            }
            Action::Unshare => {
                self.need_mount()?;
                self.world.process_mut(self.who).unshared = true;
                Ok(())
            }
            Action::UnshareUser => {
                self.need(Privilege::UserNamespace)?;
                self.emit(Event::UserNamespace);
                let process = self.world.process_mut(self.who);
                process.unshared = true;
                process.privileges.extend([Privilege::Mount, Privilege::Chroot]);
                Ok(())
            }
            Action::Evict => {
                self.world.evict();
                Ok(())
            }
            _ => unreachable!("perform() sends only these here"),
        }
    }

    fn need_mount(&mut self) -> Result<(), Obstacle> {
        self.need(Privilege::Mount)?;
        self.emit(Event::SysAdmin);
        Ok(())
    }

    /// Where a mount of mount(2) goes: a file on a file, a directory on a directory.
    fn mount_point(&mut self, from: Spot, at: &RulePath) -> Result<Spot, Obstacle> {
        let point = self.resolve(&At::Path(at.clone()))?;
        let directory = |spot| self.world.is_directory(self.world.inode_at(spot));
        if directory(from) != directory(point) {
            return Err(Obstacle::WrongKind);
        }
        self.need(Privilege::Mount)?;
        let event = Event::Mount { at: self.seen(point), moved: false };
        self.emit(event);
        self.emit(Event::SysAdmin);
        Ok(point)
    }

    fn mount_type(&mut self, kind: &'static str, at: &RulePath) -> Result<(), Obstacle> {
        let point = self.resolve(&At::Path(at.clone()))?;
        let point = self.mount_point(point, at)?;
        self.emit(Event::KernMount(kind));
        let super_block = self.world.add_super(SuperKind::Plain);
        self.world.attach(super_block, Some(point));
        Ok(())
    }

    fn attach_tree(&mut self, mount: MountId, at: &RulePath) -> Result<(), Obstacle> {
        let root = self.world.root_of(mount)?;
        if self.world.mounts[mount.0].at.is_some() || mount.0 == 0 {
            return Err(Obstacle::Busy);
        }
        let point = self.resolve(&At::Path(at.clone()))?;
        let directory = |spot| self.world.is_directory(self.world.inode_at(spot));
        if directory(root) != directory(point) {
            return Err(Obstacle::WrongKind);
        }
        self.need_mount()?;
        let event = Event::Mount { at: self.seen(point), moved: true };
        self.emit(event);
        Arc::make_mut(&mut self.world.mounts)[mount.0].at = Some(point);
        Ok(())
    }
}

// === impl World ===

impl World {
    pub(super) fn add_super(&mut self, kind: SuperKind) -> SuperId {
        let super_block = SuperId(self.supers.len());
        // The root is made after it, because an inode names its super block.
        let root = DentryId(self.dentries.len());
        Arc::make_mut(&mut self.supers).push(SuperBlock { kind, root });
        let inode = self.make_inode(super_block, Kind::Directory { merged: false });
        self.add_dentry(Dentry { up: None, inode, linked: true });
        super_block
    }

    pub(super) fn attach(&mut self, super_block: SuperId, at: Option<Spot>) -> MountId {
        let root = self.supers[super_block.0].root;
        self.add_mount(Mount { super_block, root, at, read_only: false, no_exec: false })
    }

    pub(super) fn add_mount(&mut self, mount: Mount) -> MountId {
        let mounts = Arc::make_mut(&mut self.mounts);
        mounts.push(mount);
        MountId(mounts.len() - 1)
    }

    fn bind(&mut self, from: Spot, at: Option<Spot>) {
        let mount = Mount { root: from.dentry, at, ..self.mounts[from.mount.0].clone() };
        self.add_mount(mount);
    }

    /// A new overlay whose only lower layer is this directory; its upper one is elsewhere.
    fn overlay_of(&mut self, lower: Spot) -> SuperId {
        let super_block = self.add_super(SuperKind::Overlay);
        let root = self.supers[super_block.0].root;
        self.show(super_block, lower.dentry, root);
        super_block
    }

    /// Shows all below one directory in another one.
    pub(super) fn show(&mut self, super_block: SuperId, from: DentryId, to: DentryId) {
        let below: Vec<_> =
            self.children_of(from).map(|(name, dentry)| (name.clone(), dentry)).collect();
        for (name, behind) in below {
            let hidden = self.dentry(behind).inode;
            let kind = match &self.inode(hidden).kind {
                Kind::Directory { .. } => Kind::Directory { merged: true },
                Kind::File(_) => Kind::File(Content::data(0)),
                Kind::Link(target) => Kind::Link(target.clone()),
            };
            let is_file = matches!(kind, Kind::File(_));
            let (executable, public) = (self.inode(hidden).executable, self.inode(hidden).public);
            let split = self.names_of(hidden) > 1;
            let inode = self.bare_inode(super_block, kind);
            let shown = self.inode_mut(inode);
            (shown.executable, shown.public) = (executable, public);
            if is_file {
                let dentry = Some(behind);
                shown.backing = Some(Backing { inode: hidden, dentry, lower: true, split });
            }
            let up = Some((to, name));
            let dentry = self.add_dentry(Dentry { up, inode, linked: true });
            self.show(super_block, behind, dentry);
        }
    }

    /// What is kept under the number of an overlay's inode is lost if the number changes.
    fn evict(&mut self) {
        for inode in Arc::make_mut(&mut self.inodes) {
            if inode.backing.as_ref().is_some_and(|backing| backing.split && !backing.lower) {
                inode.held.clear();
                inode.tainted = false;
            }
        }
    }
}
