// SPDX-License-Identifier: Apache-2.0
//! What is true of containers and rule sets, as everybody but the owner sees it.

use std::{collections::VecDeque, fmt, sync::Arc};

use policy_model::{Digest, Generation, Target};

use crate::{
    containers::ContainerId,
    maps::{Residue, Slot},
};

/// A rule set by number and content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Number of the set; zero for the empty one.
    pub generation: Generation,
    /// SHA-256 of its bytes as sent.
    pub digest: Digest,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// At the gate; no rule set for it yet.
    Waiting,
    /// Its rules are in force; it may run.
    Registered,
    /// Its first process runs.
    Started,
    /// Its first process ended; others may be left.
    Exited,
    /// It was not let through.
    Refused,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name at the runtime.
    pub id: ContainerId,
    /// Its name in Kubernetes.
    pub target: Target,
    /// Where it is in its life.
    pub state: State,
    /// Its registration in the kernel.
    pub slot: Option<Slot>,
    /// The rule set that it is under.
    pub in_force: Option<InForce>,
    /// What could not be put into force as asked.
    pub residues: Arc<[Residue]>,
    /// Why it waits or was refused.
    pub reason: String,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The containers that the runtime has not removed.
    pub containers: Vec<ContainerView>,
    /// The last ones that it has removed: late events still name them.
    pub departed: Arc<VecDeque<ContainerView>>,
    /// Rule sets by name, whether a container is under them or not.
    pub held: Vec<(Target, InForce)>,
    /// Containers that were refused.
    pub refused: u64,
    /// Containers that started without rules because their namespace may.
    pub failed_open: u64,
}

// === impl View ===

impl View {
    /// The container of a registration, also a departed one.
    #[must_use]
    pub fn by_number(&self, number: u32) -> Option<&ContainerView> {
        let is_meant =
            |view: &&ContainerView| view.slot.is_some_and(|slot| slot.container == number);
        self.containers.iter().chain(self.departed.iter()).find(is_meant)
    }

    /// A container by its name at the runtime.
    #[must_use]
    pub fn by_id(&self, id: &ContainerId) -> Option<&ContainerView> {
        self.containers.iter().find(|view| view.id == *id)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Registered => "registered",
            Self::Started => "started",
            Self::Exited => "exited",
            Self::Refused => "refused",
        })
    }
}
