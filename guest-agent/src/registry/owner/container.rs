// SPDX-License-Identifier: Apache-2.0
//! One container: what is known of it, and what that allows. It makes no system call but to ask
//! whether its process lives, and to open its root.

use std::sync::Arc;

use policy_model::{RulePath, Target};
use tokio::{sync::oneshot, time::Instant};

use super::sets::same_container;
use crate::{
    apply::Accepted,
    containers::{Cgroup, ContainerId, Init, Role, Root},
    identify::{Searches, Site},
    maps::{Residue, Slot},
    registry::{
        ContainerView, InForce, Permit, REGISTRATION, Refusal, RootError, State, Verdict,
        note::Facts,
    },
};

/// A container that the runtime has not removed.
pub(super) struct Container {
    pub(super) role: Role,
    pub(super) init: Init,
    pub(super) rootfs: Option<RulePath>,
    /// How long it waits at the gate; none if it never did.
    pub(super) until: Option<Instant>,
    pub(super) state: State,
    pub(super) registration: Option<Registration>,
    pub(super) in_force: Option<InForce>,
    pub(super) residues: Arc<[Residue]>,
    pub(super) reason: Refusal,
    pub(super) waiter: Option<oneshot::Sender<Verdict>>,
    pub(super) searches: Arc<Searches>,
}

/// What a container has in the kernel.
pub(super) struct Registration {
    pub(super) slot: Slot,
    pub(super) root: Arc<Root>,
    pub(super) cgroup: Option<Cgroup>,
}

// === impl Container ===

impl Container {
    pub(super) fn view(&self, id: &ContainerId) -> ContainerView {
        ContainerView {
            id: id.clone(),
            target: self.role.target().clone(),
            state: self.state,
            slot: self.registration.as_ref().map(|registration| registration.slot),
            in_force: self.in_force,
            residues: Arc::clone(&self.residues),
            reason: match self.state {
                State::Waiting | State::Refused => self.reason.clone(),
                State::Registered | State::Started | State::Exited => String::new(),
            },
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        let is_over = matches!(self.state, State::Exited | State::Refused);
        !is_over && self.init.check_alive().is_ok()
    }

    /// The runtime asks once more, as a hook that is called twice does.
    pub(super) fn announce_again(&mut self, init: &Init, waiter: oneshot::Sender<Verdict>) {
        if init.pid() != self.init.pid() {
            let reason = format!("process {} has this container already", self.init.pid());
            drop(waiter.send(Err(reason)));
        } else if let Some(permit) = self.permit() {
            drop(waiter.send(Ok(permit)));
        } else {
            // The waiter before is told by the end of its channel.
            self.waiter = Some(waiter);
        }
    }

    pub(super) fn permit(&self) -> Option<Permit> {
        match self.state {
            State::Registered | State::Started => Some(Permit {
                number: self.number()?,
                in_force: self.in_force?,
                cgroup: self.registration.as_ref()?.cgroup.clone(),
            }),
            State::Waiting | State::Exited | State::Refused => None,
        }
    }

    /// Until it is registered its root is opened anew each time: the runtime may still mount it.
    pub(super) fn root(&self, id: &ContainerId) -> Result<Arc<Root>, RootError> {
        match (self.state, &self.registration) {
            (State::Waiting, _) => Ok(Root::open(&self.init, self.rootfs.as_ref())?.into()),
            (State::Registered | State::Started, Some(registration)) => {
                Ok(Arc::clone(&registration.root))
            }
            (state, _) => Err(RootError::Over { id: id.clone(), state }),
        }
    }

    /// Where its files are to be searched, and how long: of one that waits, as long as there is time
    /// to register it afterwards.
    pub(super) fn site(&self, id: &ContainerId) -> Result<Site, RootError> {
        let site = Site::new(self.root(id)?, self.init.clone(), Arc::clone(&self.searches));
        let until = self.until.filter(|_| self.state == State::Waiting);
        Ok(until.map_or(site.clone(), |until| site.until(until - REGISTRATION)))
    }

    /// Whether a rule set of its name is to be put into force for it now.
    pub(super) fn takes_rules(&self) -> bool {
        self.permit().is_some() || self.state == State::Waiting
    }

    /// What the next agent must know; nothing of a container that is not registered.
    pub(super) fn facts<'a>(&'a self, id: &'a ContainerId) -> Option<(Slot, Facts<'a>)> {
        let registration = self.registration.as_ref()?;
        let facts = Facts {
            id,
            role: &self.role,
            init: &self.init,
            rootfs: self.rootfs.as_ref(),
            cgroup: registration.cgroup.as_ref(),
            in_force: self.in_force?,
        };
        Some((registration.slot, facts))
    }

    pub(super) fn number(&self) -> Option<u32> {
        self.registration.as_ref().map(|registration| registration.slot.container)
    }

    pub(super) fn under(&mut self, set: &Accepted, residues: Vec<Residue>) {
        self.in_force = Some(in_force(set));
        self.residues = residues.into();
    }

    /// Whom to tell, and why.
    pub(super) fn refuse(&mut self) -> (Option<oneshot::Sender<Verdict>>, Refusal) {
        self.state = State::Refused;
        (self.waiter.take(), self.reason.clone())
    }

    pub(super) fn not_running(&self, id: &ContainerId) -> Refusal {
        format!("container {id} is {}", self.state)
    }

    pub(super) fn is_named(&self, target: &Target) -> bool {
        same_container(self.role.target(), target)
    }
}

pub(super) fn in_force(set: &Accepted) -> InForce {
    InForce { generation: set.rules.generation, digest: set.digest }
}
