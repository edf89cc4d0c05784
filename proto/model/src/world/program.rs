// SPDX-License-Identifier: Apache-2.0
//! Running a file: execve and what it does for scripts and interpreters, and maps of files.

use super::{
    At, Bytes, Content, Form, InodeId, Obstacle, Privilege, Spot, Strength, SuperKind,
    scene::{EXEC, READ, Scene},
};
use crate::hook::{Event, Map};

/// Programs of a chain of `#!` (BINPRM_MAX_RECURSION and the first).
const MAX_SCRIPTS: usize = 5;

// === impl Scene ===

impl Scene {
    pub(super) fn exec_at(&mut self, at: &At) -> Result<(), Obstacle> {
        let spot = self.resolve_file(at)?;
        self.exec(spot, 0)
    }

    /// A program that was opened by a handle; overlays are not exported.
    pub(super) fn handle(&mut self, at: &At) -> Result<(), Obstacle> {
        self.need(Privilege::Handle)?;
        let spot = self.resolve_file(at)?;
        let super_block = self.world.super_of(spot.dentry);
        if self.world.supers[super_block.0].kind == SuperKind::Overlay {
            return Err(Obstacle::NotSupported);
        }
        self.open(spot, READ)?;
        self.exec(spot, 0)
    }

    pub(super) fn exec(&mut self, spot: Spot, level: usize) -> Result<(), Obstacle> {
        let inode = self.world.inode_at(spot);
        let runs = self.world.inode(inode).executable && !self.world.mounts[spot.mount.0].no_exec;
        if !runs || level > MAX_SCRIPTS {
            return Err(Obstacle::NotExecutable);
        }
        let content = self.content_at(spot).ok_or(Obstacle::NotExecutable)?;
        self.open(spot, EXEC)?;
        let event = Event::Exec(self.seen(spot), None);
        self.emit(event);
        self.note_executed(inode, level);
        match content.form.clone() {
            Form::Data => Err(Obstacle::NotExecutable),
            Form::Script(interpreter) => {
                let interpreter = self.resolve_file(&At::Path(interpreter))?;
                self.exec(interpreter, level + 1)?;
                self.open(spot, READ)?;
                self.run(Some(content), Strength::File);
                Ok(())
            }
            Form::Program(interpreter) => self.start(spot, content, interpreter),
        }
    }

    /// What the exec is decided on: the file, and with a script its interpreter.
    fn note_executed(&mut self, inode: InodeId, level: usize) {
        let held = self.world.inode(inode).held.clone();
        let executed = &mut self.world.process_mut(self.who).executed;
        if level == 0 {
            executed.clear();
        }
        executed.insert(held);
    }

    fn start(
        &mut self,
        spot: Spot,
        content: Content,
        interpreter: Option<crate::path::RulePath>,
    ) -> Result<(), Obstacle> {
        let loader = interpreter.map(|path| self.resolve_file(&At::Path(path))).transpose()?;
        if let Some(loader) = loader {
            self.open(loader, EXEC)?;
        }
        let (exe, image) = (self.world.path_of(spot.dentry), self.world.inode_at(spot));
        let acts_as = self.world.inode(image).sources.iter().cloned().collect();
        let process = self.world.process_mut(self.who);
        (process.exe, process.image, process.acts_as) = (exe, Some(image), acts_as);
        process.memory.clear();
        self.map_program(spot);
        self.run(Some(content), Strength::File);
        if let Some(loader) = loader {
            self.map_program(loader);
            let content = self.content_at(loader);
            self.run(content, Strength::File);
        }
        Ok(())
    }

    fn map_program(&mut self, spot: Spot) {
        let file = Some(self.seen(spot));
        self.emit(Event::Map(Map { file, private: true, ..Map::default() }));
        let mut inode = self.world.inode_at(spot);
        while let Some(backing) = self.world.inode(inode).backing.clone() {
            let file = Some(self.seen_behind(inode, &backing));
            self.emit(Event::Map(Map { file, private: true, behind: true, ..Map::default() }));
            inode = backing.inode;
        }
    }

    pub(super) fn load(&mut self, at: &At) -> Result<(), Obstacle> {
        let spot = self.resolve_file(at)?;
        if self.world.mounts[spot.mount.0].no_exec {
            return Err(Obstacle::NotExecutable);
        }
        self.open(spot, READ)?;
        self.map_program(spot);
        let content = self.content_at(spot);
        self.run(content, Strength::File);
        Ok(())
    }

    /// Of an overlay's file, a map has the file behind it.
    pub(super) fn map_then_protect(&mut self, at: &At) -> Result<(), Obstacle> {
        let spot = self.resolve_file(at)?;
        if self.world.mounts[spot.mount.0].no_exec {
            return Err(Obstacle::NotExecutable);
        }
        self.open(spot, READ)?;
        let file = Some(self.seen_mapped(spot));
        self.emit(Event::Map(Map { file, protect: true, private: true, ..Map::default() }));
        let content = self.content_at(spot);
        self.run(content, Strength::File);
        Ok(())
    }

    pub(super) fn seen_mapped(&self, spot: Spot) -> crate::hook::File {
        let mut inode = self.world.inode_at(spot);
        let mut file = self.seen(spot);
        while let Some(backing) = &self.world.inode(inode).backing {
            file = self.seen_behind(inode, backing);
            inode = backing.inode;
        }
        file
    }

    pub(super) fn interpret(&mut self, bytes: &Bytes) -> Result<(), Obstacle> {
        let content = match bytes {
            Bytes::File(at) => {
                let spot = self.resolve_file(at)?;
                self.open(spot, READ)?;
                self.content_at(spot)
            }
            Bytes::Open(file) => {
                let open = self.world.open_file(self.who, file.0)?;
                if !open.readable {
                    return Err(Obstacle::NotPermitted);
                }
                self.content_at(open.spot)
            }
            Bytes::Memory(content) => {
                self.bytes(content)?;
                Some(content.clone())
            }
        };
        match content {
            Some(content) if matches!(content.form, Form::Script(_)) => {
                self.run(Some(content), Strength::Interpreted);
                Ok(())
            }
            _ => Err(Obstacle::NotExecutable),
        }
    }
}
