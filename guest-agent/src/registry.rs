// SPDX-License-Identifier: Apache-2.0
//! The containers of the guest and the rule sets by name: one thread owns both, and the kernel's
//! tables with them.
//!
//! Commands flow in over a bounded queue from `gate.rs` and `server.rs`, each with a reply of its
//! own; what is true flows out as a [`View`] over a watch channel. System calls on maps are made
//! on the owner's thread only, never on a worker of the async runtime.

mod kernel;
mod note;
mod owner;
mod prepare;
mod renew;
mod view;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

pub use kernel::Kernel;
#[cfg(test)]
pub use kernel::double;
use owner::Owner;
pub use owner::{Recovered, same_container};
use prepare::{Prepared, Sites};
use renew::Retries;
pub use view::{ContainerView, InForce, State, View};

use crate::{
    apply::{Accepted, Applied, ApplyError},
    containers::{Cgroup, ContainerId, Init, InspectError, Role, Root, aside},
    maps::{HANGING, KernelCounters, MapsError},
    posture::Loss,
};
use policy_model::{RulePath, Target};
use std::{sync::Arc, time::Duration};

/// Commands that wait: one per connection at the gate and per call of the relay, with room.
const QUEUE: usize = 256;

/// What a registration takes at most once the files were searched: the root is opened, the mounts
/// are looked at, and files are opened for the kernel to record them.
pub(crate) const REGISTRATION: Duration = aside::DEADLINE.saturating_mul(2).saturating_add(HANGING);

/// The owner is gone: nothing is enforced here, or the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent does not enforce")]
pub struct Stopped;

/// A container at the gate.
#[derive(Debug)]
pub struct Arrival {
    /// Its name at the runtime.
    pub id: ContainerId,
    /// Its name in Kubernetes.
    pub role: Role,
    /// Its first process.
    pub init: Init,
    /// Its root directory as the process sees it.
    pub rootfs: Option<RulePath>,
    /// How long it waits for its rules.
    pub until: Instant,
}

/// A container that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Number of the registration.
    pub number: u32,
    /// The rule set that it is under.
    pub in_force: InForce,
    /// Its cgroup, unless that is the root.
    pub cgroup: Option<Cgroup>,
}

/// Why a container must not go on, as a sentence for the operator.
pub type Refusal = String;

/// What becomes of a container at the gate.
pub type Verdict = Result<Permit, Refusal>;

/// Why there is nothing to remove.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// No rule set was ever applied under this name.
    #[error("no rule set of {0} is held")]
    Unknown(Target),
    /// The containers could not be freed of it.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Why a container's files cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It never came to the gate, or was removed.
    #[error("no container {0} is known")]
    Unknown(ContainerId),
    /// Its mounts are gone, or will be at any moment.
    #[error("container {id} is {state}: it has no files any more")]
    Over {
        /// The container.
        id: ContainerId,
        /// Exited or refused.
        state: State,
    },
    /// Its root cannot be opened.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Nothing is enforced here.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What is asked of the owner.
#[derive(Debug)]
enum Command {
    Announce(Box<Arrival>, oneshot::Sender<Verdict>),
    GiveUp {
        id: ContainerId,
        fail_open: bool,
    },
    Started(ContainerId, oneshot::Sender<Verdict>),
    Join(ContainerId, Init, oneshot::Sender<Verdict>),
    Exited {
        id: ContainerId,
        number: Option<u32>,
    },
    Emptied {
        id: ContainerId,
        number: u32,
    },
    Removed(ContainerId),
    /// Where to search before a set of this name is applied.
    Sites(Target, oneshot::Sender<Sites>),
    Apply(Box<Prepared>, oneshot::Sender<Result<Applied, ApplyError>>),
    /// The set that a container at the gate waits to be searched for.
    Awaited(ContainerId, oneshot::Sender<Option<(Accepted, Sites)>>),
    Admit(ContainerId, Box<Prepared>, oneshot::Sender<()>),
    /// The set is in force, and was searched for once more: whether it still is.
    Renew(Box<Prepared>, oneshot::Sender<bool>),
    Remove(Target, oneshot::Sender<Result<(), RemoveError>>),
    Root(ContainerId, oneshot::Sender<Result<Arc<Root>, RootError>>),
    Counters(oneshot::Sender<Result<KernelCounters, MapsError>>),
    Recovered(oneshot::Sender<Vec<Recovered>>),
}

/// How others speak to the owner.
#[derive(Clone, Debug)]
pub struct Registry {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<View>>,
    retries: Retries,
}

/// What the owner's thread runs on.
#[derive(Debug)]
pub struct Inbox {
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<Arc<View>>,
}

/// A registry whose commands wait until [`Inbox::run`]. A dropped inbox answers all with
/// [`Stopped`].
#[must_use]
pub fn channel() -> (Registry, Inbox) {
    let (commands, inbox) = mpsc::channel(QUEUE);
    let (published, view) = watch::channel(Arc::default());
    let retries = Retries::default();
    (Registry { commands, view, retries }, Inbox { commands: inbox, view: published })
}

// === impl Inbox ===

impl Inbox {
    /// Takes over the containers of an earlier agent, says what is lost of them, and serves commands
    /// until every [`Registry`] is gone. Blocks: it wants a thread of its own.
    pub fn run(mut self, kernel: impl Kernel, recovered: impl FnOnce(Option<Loss>)) {
        let mut owner = Owner::new(kernel, self.view);
        recovered(owner.recover());
        while let Some(command) = self.commands.blocking_recv() {
            owner.obey(command);
        }
    }
}

// === impl Registry ===

impl Registry {
    /// Ends the wait of a container: it is refused, or starts without rules. The verdict comes as
    /// promised by [`announce`](Self::announce).
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn give_up(&self, id: ContainerId, fail_open: bool) -> Result<(), Stopped> {
        self.send(Command::GiveUp { id, fail_open }).await
    }

    /// A container's first process runs.
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn started(&self, id: ContainerId) -> Result<Verdict, Stopped> {
        self.ask(|reply| Command::Started(id, reply)).await
    }

    /// A process joins a container.
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn join(&self, id: ContainerId, process: Init) -> Result<Verdict, Stopped> {
        self.ask(|reply| Command::Join(id, process, reply)).await
    }

    /// A container's first process ended; of this registration, or of any.
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn exited(&self, id: ContainerId, number: Option<u32>) -> Result<(), Stopped> {
        self.send(Command::Exited { id, number }).await
    }

    /// No process of a registration is left.
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn emptied(&self, id: ContainerId, number: u32) -> Result<(), Stopped> {
        self.send(Command::Emptied { id, number }).await
    }

    /// A container is gone.
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn removed(&self, id: ContainerId) -> Result<(), Stopped> {
        self.send(Command::Removed(id)).await
    }

    /// Forgets the rule set of a name; its containers have no rules then.
    ///
    /// # Errors
    /// If none is held, or a container could not be freed of it.
    pub async fn remove(&self, target: Target) -> Result<(), RemoveError> {
        self.ask(|reply| Command::Remove(target, reply)).await.map_err(ApplyError::from)?
    }

    /// The root directory of a container that waits or runs.
    ///
    /// # Errors
    /// If there is no such container, or its root cannot be opened.
    pub async fn root(&self, id: ContainerId) -> Result<Arc<Root>, RootError> {
        self.ask(|reply| Command::Root(id, reply)).await?
    }

    /// What the kernel lost or denied for want of a decision.
    ///
    /// # Errors
    /// If the kernel does not tell, or nothing is enforced here.
    pub async fn counters(&self) -> Result<KernelCounters, ApplyError> {
        Ok(self.ask(Command::Counters).await??)
    }

    /// Containers that an agent before this one left running.
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn recovered(&self) -> Result<Vec<Recovered>, Stopped> {
        self.ask(Command::Recovered).await
    }

    /// What is true now, and when it changes.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }
}
