// SPDX-License-Identifier: Apache-2.0
//! A container at the gate gets what it needs in the kernel, and goes on.
//!
//! A rule set and what was found for it flow in, the verdict flows out to the one who waits. Slot,
//! rules, cgroup and label come in this order; if one of them cannot be had, none of them stays.

use policy_model::RulePath;

use super::{
    Owner,
    container::{Registration, in_force},
};
use crate::{
    apply::{Accepted, ApplyError, Place, put_into_force},
    containers::{Cgroup, ContainerId, Init, Root, cgroup::CgroupError},
    identify::Findings,
    maps::{Phase, Residue},
    reason,
    registry::{Kernel, Permit, State},
};

// === impl Owner ===

impl<K: Kernel> Owner<K> {
    /// Puts a set into force for a container that waits, and lets it go on.
    pub(super) fn register(
        &mut self,
        id: &ContainerId,
        set: &Accepted,
        findings: &Findings,
    ) -> Result<(), ApplyError> {
        if let Some(claimed) = self.claim_for(id, set, findings)? {
            self.enter(id, set, claimed);
        }
        Ok(())
    }

    /// What a container needs to go on; why it does not get it is kept as the reason.
    pub(super) fn claim_for(
        &mut self,
        id: &ContainerId,
        set: &Accepted,
        findings: &Findings,
    ) -> Result<Option<(Registration, Vec<Residue>)>, ApplyError> {
        let Some(container) = self.containers.get(id) else { return Ok(None) };
        let arrived = (container.init.clone(), container.rootfs.clone());
        match self.claim(arrived, set, findings) {
            Ok(claimed) => Ok(Some(claimed)),
            Err(error) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.reason = reason::of(&error);
                }
                tracing::warn!(container = %id, error = %reason::of(&error), "not registered");
                Err(error)
            }
        }
    }

    /// Lets a container go on that has all it needs.
    pub(super) fn enter(
        &mut self,
        id: &ContainerId,
        set: &Accepted,
        (registration, residues): (Registration, Vec<Residue>),
    ) {
        let number = registration.slot.container;
        let permit =
            Permit { number, in_force: in_force(set), cgroup: registration.cgroup.clone() };
        let Some(container) = self.containers.get_mut(id) else { return };
        container.registration = Some(registration);
        container.under(set, residues);
        container.state = State::Registered;
        self.note(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        let target = container.role.target();
        let generation = set.rules.generation.0;
        tracing::info!(container = %id, %target, generation, "registered");
        let waiter = container.waiter.take();
        // Events of its first instructions must find it in the view.
        self.publish();
        if waiter.is_none_or(|waiter| waiter.send(Ok(permit)).is_err()) {
            // Whoever asked has given up, and its container must not run.
            self.removed(id);
        }
    }

    /// Slot, rules, cgroup, label: in this order, so that no task is ever in a slot without rules.
    fn claim(
        &mut self,
        (init, rootfs): (Init, Option<RulePath>),
        set: &Accepted,
        findings: &Findings,
    ) -> Result<(Registration, Vec<Residue>), ApplyError> {
        let root = Root::open(&init, rootfs.as_ref())?;
        let cgroup = own_cgroup(&init)?;
        let slot = self.kernel.allocate()?;
        let registration = Registration { slot, root: root.into(), cgroup };
        match self.fill(&registration, &init, (set, findings)) {
            Ok(residues) => Ok((registration, residues)),
            Err(error) => {
                self.release(&registration);
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        registration: &Registration,
        init: &Init,
        (set, findings): (&Accepted, &Findings),
    ) -> Result<Vec<Residue>, ApplyError> {
        let Registration { slot, root, cgroup } = registration;
        let place = Place { slot: *slot, init, root };
        let residues = put_into_force(&mut self.kernel, &place, &set.rules, findings)?;
        if let Some(cgroup) = cgroup {
            self.kernel.bind_cgroup(cgroup.id, *slot)?;
        }
        // A runtime that reports late has started the container's own code by now.
        let phase = if root.was_entered() { Phase::Running } else { Phase::Preparing };
        self.kernel.label(init.pid(), *slot, phase)?;
        // A pid that ended meanwhile may have been another's when it was labelled.
        init.check_alive()?;
        Ok(residues)
    }
}

/// Without a cgroup of its own, a container is known by its label alone; what joins it by other
/// means than the gate is stopped by the guard.
fn own_cgroup(init: &Init) -> Result<Option<Cgroup>, ApplyError> {
    let cgroup = match Cgroup::at(&init.cgroup_path()?) {
        Err(CgroupError::NoUnified) => None,
        cgroup => cgroup?,
    };
    if cgroup.is_none() {
        tracing::warn!(pid = init.pid(), "no cgroup2 of its own: nothing will be able to join it");
    }
    Ok(cgroup)
}
