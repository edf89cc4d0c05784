// SPDX-License-Identifier: Apache-2.0
//! What a process has read, keeps open, and makes executable without a file that holds it.

use std::sync::Arc;

use super::{
    Action, At, Content, Dentry, Kind, Memory, Mount, MountId, Obstacle, Spot, Strength,
    scene::{LAYERS, READ, Scene},
};
use crate::{
    hook::{Event, File, Map, Open},
    path::RulePath,
};

const POKE: Open = Open { exec: false, write: true, memory: true };

// === impl Scene ===

impl Scene {
    pub(super) fn perform_on_memory(&mut self, action: &Action) -> Result<(), Obstacle> {
        match action {
            Action::Fork => {
                let child = self.world.process(self.who).clone();
                self.world.add_process(child);
                Ok(())
            }
            Action::Read(at) => {
                let spot = self.resolve_file(at)?;
                self.open(spot, READ)?;
                let content = self.content_at(spot);
                self.learn(content);
                Ok(())
            }
            Action::ReadOpen(file) => {
                let open = self.world.open_file(self.who, file.0)?.clone();
                if !open.readable {
                    return Err(Obstacle::NotPermitted);
                }
                let content = self.content_at(open.spot);
                self.learn(content);
                Ok(())
            }
            Action::Receive(content) => {
                self.learn(Some(content.clone()));
                Ok(())
            }
            Action::Send(to, content) => {
                self.bytes(content)?;
                self.world.process_mut(*to).memory.insert(content.clone());
                Ok(())
            }
            Action::Open(at) => {
                let spot = self.resolve_file(at)?;
                self.open(spot, READ)?;
                self.keep_open(spot, true, false);
                Ok(())
            }
            Action::OpenPath(at) => {
                let spot = self.resolve(at)?;
                self.keep_open(spot, false, false);
                Ok(())
            }
            Action::Inject(content, into) => self.inject(content, *into),
            Action::ModifyMap(content, at) => self.change_map(content, at, true),
            Action::WritableMap(content, at) => self.change_map(content, at, false),
            _ => unreachable!("perform() sends only these here"),
        }
    }

    fn inject(&mut self, content: &Content, into: Memory) -> Result<(), Obstacle> {
        self.bytes(content)?;
        match into {
            Memory::Memfd => return self.exec_memfd(content),
            Memory::Anonymous => {
                self.emit(Event::Map(Map { protect: true, private: true, ..Map::default() }));
            }
            Memory::AtOnce => self.map_writable(None, true),
            Memory::Shared => self.map_writable(None, false),
            Memory::Device => {
                let file = File::place(Some(RulePath::new("/dev/zero").expect("it is normal")));
                self.map_writable(Some(File { irregular: true, ..file }), false);
            }
            Memory::Segment => {
                let file = File { unlinked: true, internal: true, ..File::default() };
                self.map_writable(Some(file), false);
            }
            Memory::Ring => {
                let file = File { irregular: true, internal: true, ..File::default() };
                self.map_writable(Some(file), false);
            }
            Memory::Heap => {}
            Memory::OwnMemory => self.emit(Event::Open(memory_of(self.who.0), POKE)),
            Memory::TracedChild => self.emit(Event::PtraceTraceme),
            Memory::Other(process) => {
                if process == self.who || process.0 >= self.world.processes.len() {
                    return Err(Obstacle::Missing);
                }
                self.emit(Event::PtraceAccess { stranger: false, attach: true });
            }
        }
        self.run(Some(content.clone()), Strength::Memory);
        Ok(())
    }

    fn map_writable(&mut self, file: Option<File>, private: bool) {
        self.emit(Event::Map(Map { file, private, writable: true, ..Map::default() }));
    }

    fn exec_memfd(&mut self, content: &Content) -> Result<(), Obstacle> {
        let inode = self.world.make_inode(LAYERS, Kind::File(content.clone()));
        self.world.inode_mut(inode).executable = true;
        let dentry = self.world.add_dentry(Dentry { up: None, inode, linked: false });
        let mounts = Arc::make_mut(&mut self.world.mounts);
        mounts.push(Mount {
            super_block: LAYERS,
            root: dentry,
            at: None,
            read_only: false,
            no_exec: false,
        });
        let mount = MountId(mounts.len() - 1);
        self.exec(Spot { mount, dentry }, 0)
    }

    /// Writes to a private map of a file. Either it is made executable afterwards, or it is both at
    /// once.
    fn change_map(&mut self, content: &Content, at: &At, after: bool) -> Result<(), Obstacle> {
        self.bytes(content)?;
        let spot = self.resolve_file(at)?;
        self.open(spot, READ)?;
        let map = if after {
            let file = Some(self.seen_mapped(spot));
            Map { file, protect: true, private: true, modified: true, ..Map::default() }
        } else {
            let file = Some(self.seen(spot));
            Map { file, private: true, writable: true, ..Map::default() }
        };
        self.emit(Event::Map(map));
        self.run(Some(content.clone()), Strength::Memory);
        Ok(())
    }
}

/// `/proc/PID/mem`; the numbers of processes begin after the container's first one.
fn memory_of(process: usize) -> File {
    let path = RulePath::new(format!("/proc/{}/mem", process + 2));
    File::place(Some(path.expect("a number makes a normal path")))
}
