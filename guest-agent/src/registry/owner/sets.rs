// SPDX-License-Identifier: Apache-2.0
//! Rule sets by name: which one is newer, and for whom it is.

use std::time::SystemTime;

use policy_model::Target;

use super::{
    MAX_CONTAINERS, Owner,
    change::Named,
    container::{Container, in_force},
};
use crate::{
    apply::{Accepted, Applied, ApplyError, StaleRuleSet, check_expiry},
    containers::{ContainerId, Init, Role},
    identify::Site,
    maps::Residue,
    reason,
    registry::{
        Kernel, RemoveError, RootError, State,
        prepare::{Prepared, Sites, Surveys, needs_search},
    },
};

/// Whether two names mean one container. A uid counts only if both sides know it.
#[must_use]
pub fn same_container(one: &Target, other: &Target) -> bool {
    let same_uid =
        one.pod_uid == other.pod_uid || one.pod_uid.is_empty() || other.pod_uid.is_empty();
    same_uid
        && one.namespace == other.namespace
        && one.pod == other.pod
        && one.container_name == other.container_name
}

impl<K: Kernel> Owner<K> {
    /// The set to register a container of this name with.
    pub(super) fn set_for(&self, target: &Target, now: SystemTime) -> Option<Accepted> {
        let set = self.sets.iter().find(|set| same_container(&set.rules.target, target))?;
        check_expiry(&set.rules, now).ok().map(|()| set.clone())
    }

    /// For all containers of the name that run or wait; held only if all took it, so that a relay that
    /// tries again finds no generation in its way.
    pub(super) fn apply(&mut self, prepared: impl Into<Prepared>) -> Result<Applied, ApplyError> {
        let Prepared { set, surveys } = prepared.into();
        check_expiry(&set.rules, SystemTime::now())?;
        let target = set.rules.target.clone();
        let held = self.sets.iter().position(|held| same_container(&held.rules.target, &target));
        if let Some(held) = held.map(|at| &self.sets[at]) {
            if in_force(held) == in_force(&set) {
                return Ok(self.applied(&set));
            }
            check_newer(held, &set)?;
        } else if self.sets.len() >= MAX_CONTAINERS {
            return Err(ApplyError::TooMany(MAX_CONTAINERS));
        }
        self.check_searched(&set, &surveys)?;
        let running = self.named(&target, |it| it.permit().is_some());
        let waiting = self.named(&target, |it| it.state == State::Waiting);
        self.change(&Named { running, waiting }, &set, &surveys)?;
        let applied = self.applied(&set);
        match held {
            Some(at) => self.sets[at] = set,
            None => self.sets.push(set),
        }
        Ok(applied)
    }

    pub(super) fn remove(&mut self, target: &Target) -> Result<(), RemoveError> {
        let held = self.sets.iter().position(|held| same_container(&held.rules.target, target));
        let held = held.ok_or_else(|| RemoveError::Unknown(target.clone()))?;
        let empty = Accepted::empty(target.clone());
        let running = self.named(target, |it| it.permit().is_some());
        self.change(&Named { running, waiting: Vec::new() }, &empty, &Surveys::default())?;
        self.sets.remove(held);
        Ok(())
    }

    /// Where to search before a set of this name is applied.
    pub(super) fn sites(&self, target: &Target) -> Sites {
        let named = self.named(target, Container::takes_rules);
        named.into_iter().filter_map(|id| self.site(id)).collect()
    }

    /// The set that a container at the gate is to be registered with once its files were searched.
    pub(super) fn awaited(&self, id: &ContainerId) -> Option<(Accepted, Sites)> {
        let container = self.containers.get(id).filter(|it| it.state == State::Waiting)?;
        let Role::Workload(target) = &container.role else { return None };
        let set = self.set_for(target, SystemTime::now()).filter(|set| needs_search(&set.rules))?;
        Some((set, self.site(id.clone()).into_iter().collect()))
    }

    /// Registers a container whose files were searched, if nothing changed since.
    pub(super) fn admit(&mut self, id: &ContainerId, prepared: &Prepared) {
        let Some((set, _)) = self.awaited(id) else { return };
        let is_searched = self.is_searched(id, &prepared.surveys);
        if is_searched && in_force(&set) == in_force(&prepared.set) {
            // What went wrong is kept as the reason.
            drop(self.register(id, &set, prepared.surveys.of(id)));
        }
    }

    /// Holds what another search found for the set that is in force, if it still is.
    pub(super) fn renew(&mut self, prepared: &Prepared) -> bool {
        let Prepared { set, surveys } = prepared;
        let target = &set.rules.target;
        let held = self.sets.iter().find(|held| same_container(&held.rules.target, target));
        if held.is_none_or(|held| in_force(held) != in_force(set)) {
            return false;
        }
        let is_under = |it: &Container| it.permit().is_some_and(|it| it.in_force == in_force(set));
        let mut running = self.named(target, is_under);
        running.retain(|id| self.is_searched(id, surveys));
        if let Err(error) = self.change(&Named { running, waiting: Vec::new() }, set, surveys) {
            tracing::warn!(%target, error = %reason::of(&error), "not renewed");
        }
        true
    }

    fn site(&self, id: ContainerId) -> Option<(ContainerId, Init, Result<Site, RootError>)> {
        let container = self.containers.get(&id)?;
        let site = container.site(&id);
        Some((id, container.init.clone(), site))
    }

    /// Nothing is changed for any container before all were searched.
    fn check_searched(&self, set: &Accepted, surveys: &Surveys) -> Result<(), ApplyError> {
        let target = &set.rules.target;
        let named = self.named(target, Container::takes_rules);
        if needs_search(&set.rules) && !named.iter().all(|id| self.is_searched(id, surveys)) {
            return Err(ApplyError::Unsearched(target.clone()));
        }
        Ok(())
    }

    fn is_searched(&self, id: &ContainerId, surveys: &Surveys) -> bool {
        self.containers.get(id).is_some_and(|it| surveys.is_of(id, &it.init))
    }

    fn named(&self, target: &Target, which: impl Fn(&Container) -> bool) -> Vec<ContainerId> {
        let named = self.containers.iter().filter(|(_, it)| it.is_named(target) && which(it));
        named.map(|(id, _)| id.clone()).collect()
    }

    fn applied(&self, set: &Accepted) -> Applied {
        let is_under = |it: &&Container| {
            it.is_named(&set.rules.target)
                && it.permit().is_some_and(|permit| permit.in_force == in_force(set))
        };
        let under: Vec<_> = self.containers.values().filter(is_under).collect();
        let residues: Vec<Residue> =
            under.iter().flat_map(|it| it.residues.iter().cloned()).collect();
        Applied {
            target: set.rules.target.clone(),
            generation: set.rules.generation,
            digest: set.digest,
            bound: !under.is_empty(),
            residues,
        }
    }
}

fn check_newer(held: &Accepted, set: &Accepted) -> Result<(), ApplyError> {
    if set.rules.generation > held.rules.generation {
        return Ok(());
    }
    Err(ApplyError::Stale(Box::new(StaleRuleSet {
        target: set.rules.target.clone(),
        offered: in_force(set),
        in_force: in_force(held),
    })))
}
