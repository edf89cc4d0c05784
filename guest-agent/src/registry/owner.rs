// SPDX-License-Identifier: Apache-2.0
//! The owner of containers, rule sets and the kernel's tables.
//!
//! Commands flow in one at a time, replies and the next [`View`] flow out. A container goes
//! `Waiting -> Registered -> Started -> Exited`, or `Waiting -> Refused`; only in the middle two
//! it has a slot in the kernel, and `Exited` keeps it until the last process is gone. Rule sets
//! are `sets.rs`'s.

mod change;
mod container;
mod recovery;
mod registration;
mod sets;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use guest_bpf::abi;
use tokio::sync::{oneshot, watch};

use container::{Container, Registration, in_force};
pub use recovery::Recovered;
pub use sets::same_container;

use super::{
    Arrival, Command, ContainerView, Kernel, Refusal, RootError, State, Verdict, View,
    prepare::needs_search,
};
use crate::{
    apply::{Accepted, ApplyError},
    containers::{ContainerId, Init, InspectError, Role, Root},
    identify::Findings,
    maps::Phase,
    reason,
};

/// Containers, and rule sets, that are known at once; those without a slot included. A pod has tens
/// at most.
const MAX_CONTAINERS: usize = 2 * abi::MAX_SLOTS as usize;

/// Removed containers that late events can still name: as many as a pod restarts in a minute.
const MAX_DEPARTED: usize = 64;

/// State of the registry.
pub(super) struct Owner<K> {
    kernel: K,
    containers: BTreeMap<ContainerId, Container>,
    departed: Arc<VecDeque<ContainerView>>,
    sets: Vec<Accepted>,
    refused: u64,
    failed_open: u64,
    published: watch::Sender<Arc<View>>,
}

// === impl Owner ===

impl<K: Kernel> Owner<K> {
    pub(super) fn new(kernel: K, published: watch::Sender<Arc<View>>) -> Self {
        Self {
            kernel,
            containers: BTreeMap::new(),
            departed: Arc::default(),
            sets: Vec::new(),
            refused: 0,
            failed_open: 0,
            published,
        }
    }

    /// Does what is asked. Somebody who no longer waits for a reply gets none.
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Announce(arrival, waiter) => self.announce(*arrival, waiter),
            Command::GiveUp { id, fail_open } => self.give_up(&id, fail_open),
            Command::Started(id, reply) => {
                let verdict = self.started(&id);
                self.answer(reply, verdict);
            }
            Command::Join(id, process, reply) => {
                let verdict = self.join(&id, &process);
                self.answer(reply, verdict);
            }
            Command::Exited { id, number } => self.exited(&id, number),
            Command::Emptied { id, number } => self.emptied(&id, number),
            Command::Removed(id) => self.removed(&id),
            Command::Apply(accepted, reply) => {
                let applied = self.apply(*accepted);
                self.answer(reply, applied);
            }
            Command::Admit(id, prepared, reply) => {
                self.admit(&id, &prepared);
                self.answer(reply, ());
            }
            Command::Renew(prepared, reply) => {
                let renewed = self.renew(&prepared);
                self.answer(reply, renewed);
            }
            Command::Remove(target, reply) => {
                let removed = self.remove(&target);
                self.answer(reply, removed);
            }
            Command::Sites(target, reply) => return drop(reply.send(self.sites(&target))),
            Command::Awaited(id, reply) => return drop(reply.send(self.awaited(&id))),
            Command::Root(id, reply) => return drop(reply.send(self.root(&id))),
            Command::Counters(reply) => return drop(reply.send(self.kernel.counters())),
            Command::Recovered(reply) => return drop(reply.send(self.recovered())),
        }
        self.publish();
    }

    /// The view comes before the reply: what follows from a reply finds the view true.
    fn answer<T>(&self, reply: oneshot::Sender<T>, answer: T) {
        self.publish();
        drop(reply.send(answer));
    }

    fn publish(&self) {
        self.published.send_replace(Arc::new(self.view()));
    }

    pub(super) fn view(&self) -> View {
        View {
            containers: self.containers.iter().map(|(id, it)| it.view(id)).collect(),
            departed: Arc::clone(&self.departed),
            held: self.sets.iter().map(|set| (set.rules.target.clone(), in_force(set))).collect(),
            refused: self.refused,
            failed_open: self.failed_open,
        }
    }

    fn announce(&mut self, arrival: Arrival, waiter: oneshot::Sender<Verdict>) {
        let Arrival { id, role, init, rootfs, until } = arrival;
        if let Some(known) = self.containers.get_mut(&id) {
            if known.is_alive() {
                known.announce_again(&init, waiter);
                return;
            }
            self.removed(&id);
        }
        if self.containers.len() >= MAX_CONTAINERS && !self.forget_one() {
            self.refused += 1;
            let reason = format!("{MAX_CONTAINERS} containers are known already");
            drop(waiter.send(Err(reason)));
            return;
        }
        let set = match &role {
            Role::Sandbox(target) => Some(Accepted::empty(target.clone())),
            Role::Workload(target) => self.set_for(target, SystemTime::now()),
        };
        let container = Container {
            role,
            init,
            rootfs,
            until: Some(until),
            state: State::Waiting,
            registration: None,
            in_force: None,
            residues: Arc::default(),
            reason: "no rule set for it has arrived".into(),
            waiter: Some(waiter),
            searches: Arc::default(),
        };
        self.containers.insert(id.clone(), container);
        // Others wait for a search, see `prepare.rs`.
        if let Some(set) = set.filter(|set| !needs_search(&set.rules)) {
            // What went wrong is kept as the reason; a better set may arrive before the deadline.
            drop(self.register(&id, &set, &Findings::none()));
        }
    }

    /// Makes room, where a runtime does not say that its containers are gone.
    fn forget_one(&mut self) -> bool {
        let is_over = |it: &Container| it.registration.is_none() && it.state != State::Waiting;
        let over = self.containers.iter().find(|(_, it)| is_over(it)).map(|(id, _)| id.clone());
        over.is_some_and(|id| self.containers.remove(&id).is_some())
    }

    fn give_up(&mut self, id: &ContainerId, fail_open: bool) {
        let Some(container) = self.containers.get(id) else { return };
        if container.state != State::Waiting {
            return;
        }
        if fail_open {
            let target = container.role.target().clone();
            tracing::warn!(container = %id, %target, "starts without rules: its namespace may");
            self.failed_open += 1;
            if self.register(id, &Accepted::empty(target), &Findings::none()).is_ok() {
                return;
            }
            self.failed_open -= 1;
        }
        self.refused += 1;
        if let Some(container) = self.containers.get_mut(id) {
            let (waiter, reason) = container.refuse();
            if let Some(waiter) = waiter {
                self.answer(waiter, Err(reason));
            }
        }
    }

    /// For the agent after this one. Without the note that one gives the container up, which denies
    /// it everything: worth an error, but no reason to stop it now.
    fn note(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let Some((slot, facts)) = container.facts(id) else { return };
        let noted = match facts.encode() {
            Ok(text) => self.kernel.note(slot, &text).map_err(|error| reason::of(&error)),
            Err(error) => Err(reason::of(&error)),
        };
        if let Err(error) = noted {
            tracing::error!(container = %id, error, "not noted for a takeover");
        }
    }

    fn root(&self, id: &ContainerId) -> Result<Arc<Root>, RootError> {
        let container = self.containers.get(id);
        container.ok_or_else(|| RootError::Unknown(id.clone()))?.root(id)
    }

    fn release(&mut self, registration: &Registration) {
        let cgroup = registration.cgroup.as_ref().map(|cgroup| cgroup.id);
        if let Err(error) = self.kernel.release(registration.slot, cgroup) {
            tracing::error!(error = %reason::of(&error), "a slot could not be released");
        }
    }

    fn started(&mut self, id: &ContainerId) -> Verdict {
        let container = self.containers.get_mut(id).ok_or_else(|| unknown(id))?;
        let permit = container.permit().ok_or_else(|| container.not_running(id))?;
        container.state = State::Started;
        Ok(permit)
    }

    fn join(&mut self, id: &ContainerId, process: &Init) -> Verdict {
        let container = self.containers.get(id).ok_or_else(|| unknown(id))?;
        let permit = container.permit().ok_or_else(|| container.not_running(id))?;
        let slot = container.registration.as_ref().map(|registration| registration.slot);
        let slot = slot.ok_or_else(|| container.not_running(id))?;
        self.kernel
            .label(process.pid(), slot, Phase::Preparing)
            .map_err(|error| reason::of(&error))?;
        process.check_alive().map_err(|error| reason::of(&error))?;
        Ok(permit)
    }

    fn exited(&mut self, id: &ContainerId, number: Option<u32>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let is_meant = number.is_none_or(|number| container.number() == Some(number));
        if is_meant && matches!(container.state, State::Registered | State::Started) {
            container.state = State::Exited;
        }
    }

    fn emptied(&mut self, id: &ContainerId, number: u32) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.number() == Some(number) {
            let view = container.view(id);
            if let Some(registration) = container.registration.take() {
                self.release(&registration);
                self.depart(view);
            }
        }
    }

    fn removed(&mut self, id: &ContainerId) {
        let Some(mut container) = self.containers.remove(id) else { return };
        if let Some(waiter) = container.waiter.take() {
            drop(waiter.send(Err("the container was removed".into())));
        }
        let view = container.view(id);
        if let Some(registration) = container.registration.take() {
            self.release(&registration);
            self.depart(view);
        }
    }

    fn depart(&mut self, view: ContainerView) {
        let departed = Arc::make_mut(&mut self.departed);
        if departed.len() == MAX_DEPARTED {
            departed.pop_front();
        }
        departed.push_back(view);
    }
}

fn unknown(id: &ContainerId) -> Refusal {
    format!("container {id} was never registered: its prestart hook did not run")
}

/// Whether an error only says that the container is over.
fn is_gone(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Inspect(InspectError::Gone(_)))
}
