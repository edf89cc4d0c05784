// SPDX-License-Identifier: Apache-2.0
//! Containers of an agent that is gone: taken over as the kernel's notes say, or given up.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Owner, container::Container, container::Registration};
use crate::{
    containers::{Cgroup, ContainerId, Init, Root},
    maps::{Note, Slot},
    posture::Loss,
    reason,
    registry::{
        Kernel, Permit, State,
        note::{ContainerNote, InvalidNote},
    },
};

/// A container whose end must be watched from now on.
pub type Recovered = (ContainerId, Init, Permit);

// === impl Owner ===

impl<K: Kernel> Owner<K> {
    /// Takes over what an earlier agent left. A container whose first process is gone keeps its
    /// slot while others of it may be left; a slot that nobody noted had no container yet. Lost
    /// are those that could not be taken over and may have processes.
    pub(in crate::registry) fn recover(&mut self) -> Option<Loss> {
        let (notes, unnoted) = match (self.kernel.notes(), self.kernel.unnoted()) {
            (Ok(notes), Ok(unnoted)) => (notes, unnoted),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(error = %reason::of(&error), "containers are not taken over");
                return Some(Loss::ContainersLeft(None));
            }
        };
        let mut left = 0;
        for slot in unnoted {
            self.give_up_slot(slot, None);
        }
        for note in notes {
            if let Err(error) = self.take_over(&note) {
                tracing::warn!(slot = note.slot.index, %error, "a container is not taken over");
                let cgroup = ContainerNote::decode(&note.text).ok().and_then(|note| note.cgroup());
                left += usize::from(!cgroup.as_ref().is_some_and(Cgroup::is_empty));
                if cgroup.as_ref().is_none_or(Cgroup::is_empty) {
                    self.give_up_slot(note.slot, cgroup);
                }
            }
        }
        self.publish();
        (left > 0).then_some(Loss::ContainersLeft(Some(left)))
    }

    /// The containers that run, for those who watch their ends.
    pub(super) fn recovered(&self) -> Vec<Recovered> {
        let running = |(id, it): (&ContainerId, &Container)| {
            Some((id.clone(), it.init.clone(), it.permit()?))
        };
        self.containers.iter().filter_map(running).collect()
    }

    fn take_over(&mut self, note: &Note) -> Result<(), InvalidNote> {
        let known = ContainerNote::decode(&note.text)?;
        let (id, init, rootfs) = (known.id()?, known.init()?, known.rootfs());
        let root = Arc::new(Root::recover(&init, rootfs.as_ref())?);
        let in_force = known.in_force(note.generation);
        let generation = in_force.generation.0;
        let registration = Registration { slot: note.slot, root, cgroup: known.cgroup() };
        let container = Container {
            role: known.role(),
            init,
            rootfs,
            until: None,
            state: State::Started,
            registration: Some(registration),
            in_force: Some(in_force),
            residues: Arc::default(),
            reason: String::new(),
            waiter: None::<oneshot::Sender<_>>,
            searches: Arc::default(),
        };
        let target = container.role.target();
        tracing::info!(container = %id, %target, generation, "taken over");
        self.containers.insert(id, container);
        Ok(())
    }

    fn give_up_slot(&mut self, slot: Slot, cgroup: Option<Cgroup>) {
        if let Err(error) = self.kernel.release(slot, cgroup.map(|cgroup| cgroup.id)) {
            tracing::error!(error = %reason::of(&error), "a slot could not be released");
        }
    }
}
