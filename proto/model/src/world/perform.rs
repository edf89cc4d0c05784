// SPDX-License-Identifier: Apache-2.0
//! What an action does: which module carries it out, and what it gives back.

use super::{Action, Content, Obstacle, ProcessId, Strength, World, scene::Scene};
use crate::hook::Event;

/// A content that was run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ran {
    /// What.
    pub content: Content,
    /// How.
    pub strength: Strength,
}

/// An action that nothing but rules can stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The hooks that it passes, in their order.
    pub events: Vec<Event>,
    /// The world if none of them denies.
    pub after: World,
    /// What is run then.
    pub ran: Vec<Ran>,
}

// === impl World ===

impl World {
    /// Carries out an action of a process as if there were no rules.
    ///
    /// # Errors
    /// If the kernel refuses it for another reason.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn perform(&self, who: ProcessId, action: &Action) -> Result<Step, Obstacle> {
        let world = self.clone();
        let mut scene = Scene { world, who, events: Vec::new(), ran: Vec::new() };
        scene.perform(action)?;
        Ok(Step { events: scene.events, after: scene.world, ran: scene.ran })
    }
}

// === impl Scene ===

impl Scene {
    fn perform(&mut self, action: &Action) -> Result<(), Obstacle> {
        match action {
            Action::Exec(at) => self.exec_at(at),
            Action::Load(at) => self.load(at),
            Action::MapThenProtect(at) => self.map_then_protect(at),
            Action::Interpret(bytes) => self.interpret(bytes),
            Action::Handle(at) => self.handle(at),
            Action::Fork
            | Action::Inject(..)
            | Action::ModifyMap(..)
            | Action::WritableMap(..)
            | Action::Read(_)
            | Action::ReadOpen(_)
            | Action::Receive(_)
            | Action::Send(..)
            | Action::Open(_)
            | Action::OpenPath(_) => self.perform_on_memory(action),
            Action::Rename(..)
            | Action::Exchange(..)
            | Action::Link(..)
            | Action::Symlink(..)
            | Action::Unlink(_)
            | Action::Mkdir(_)
            | Action::Rmdir(_)
            | Action::Chmod(_)
            | Action::Write(..)
            | Action::Obtain(..)
            | Action::WriteOpen(..)
            | Action::Copy(..)
            | Action::OpenUnnamed(_) => self.perform_on_names(action),
            Action::Bind(..)
            | Action::Overlay(..)
            | Action::Cover(_)
            | Action::CloneTree(_)
            | Action::DetachedOverlay(_)
            | Action::Attach(..)
            | Action::MountType(..)
            | Action::Chroot(_)
            | Action::Unshare
            | Action::UnshareUser
            | Action::Evict => self.perform_on_mounts(action),
        }
    }
}
