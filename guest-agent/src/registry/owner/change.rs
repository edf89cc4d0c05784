// SPDX-License-Identifier: Apache-2.0
//! A rule set comes into force for all containers of its name, or for none.
//!
//! A set and what was found for it flow in; containers under it flow out, or the first error with what
//! followed from it. All is prepared before anything is switched: running containers get the set beside
//! the one in force, containers at the gate get a slot with it. Then the running ones are switched
//! together, and only then those at the gate are let go on.

#[cfg(test)]
mod tests;

use super::{Owner, container::Registration, is_gone};
use crate::{
    apply::{Accepted, ApplyError, Place, Staged, settle, stage, take_back},
    containers::ContainerId,
    identify::Findings,
    maps::{Residue, Slot},
    registry::{Kernel, State, prepare::Surveys},
};

/// Whom a change is for.
pub(super) struct Named {
    pub(super) running: Vec<ContainerId>,
    pub(super) waiting: Vec<ContainerId>,
}

/// What is prepared, and not in force yet.
#[derive(Default)]
struct Change<'r> {
    staged: Vec<(ContainerId, Staged<'r>)>,
    claimed: Vec<(ContainerId, (Registration, Vec<Residue>))>,
}

// === impl Owner ===

impl<K: Kernel> Owner<K> {
    /// Prepares, switches, lets go on.
    pub(super) fn change(
        &mut self,
        named: &Named,
        set: &Accepted,
        surveys: &Surveys,
    ) -> Result<(), ApplyError> {
        let mut change = Change::default();
        let prepared = self.prepare(&mut change, named, (set, surveys));
        let slots: Vec<_> = change.staged.iter().map(|(_, staged)| staged.slot).collect();
        match prepared.and_then(|()| Ok(self.kernel.switch_all(&slots)?)) {
            Ok(()) => {
                self.finish(change, set);
                Ok(())
            }
            Err(error) => Err(self.abandon(change, set, error)),
        }
    }

    fn prepare<'r>(
        &mut self,
        change: &mut Change<'r>,
        named: &Named,
        (set, surveys): (&'r Accepted, &Surveys),
    ) -> Result<(), ApplyError> {
        for id in &named.running {
            let staged = self.stage(id, set, surveys.of(id))?;
            change.staged.extend(staged.map(|staged| (id.clone(), staged)));
        }
        for id in &named.waiting {
            match self.claim_for(id, set, surveys.of(id)) {
                Ok(claimed) => {
                    change.claimed.extend(claimed.map(|claimed| (id.clone(), claimed)));
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lowers anew, with the mounts that the container has now.
    fn stage<'r>(
        &mut self,
        id: &ContainerId,
        set: &'r Accepted,
        findings: &Findings,
    ) -> Result<Option<Staged<'r>>, ApplyError> {
        let Some(container) = self.containers.get_mut(id) else { return Ok(None) };
        let Some(registration) = &container.registration else { return Ok(None) };
        let (slot, root) = (registration.slot, &registration.root);
        let place = Place { slot, init: &container.init, root };
        match stage(&mut self.kernel, &place, &set.rules, findings) {
            Ok(staged) => Ok(Some(staged)),
            // Its mounts went with it; processes that are left in it keep the set before.
            Err(error) if is_gone(&error) => {
                container.state = State::Exited;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn finish(&mut self, change: Change<'_>, set: &Accepted) {
        for (id, staged) in change.staged {
            self.settle(&id, staged, set);
        }
        for (id, claimed) in change.claimed {
            self.enter(&id, set, claimed);
        }
    }

    fn settle(&mut self, id: &ContainerId, staged: Staged<'_>, set: &Accepted) {
        let residues = settle(&mut self.kernel, staged);
        if let Some(container) = self.containers.get_mut(id) {
            container.under(set, residues);
            tracing::info!(container = %id, generation = set.rules.generation.0, "applied");
            self.note(id);
        }
    }

    /// Takes all back but what could not be switched back: that is in force.
    fn abandon(&mut self, change: Change<'_>, set: &Accepted, error: ApplyError) -> ApplyError {
        let switched: Vec<Slot> = match &error {
            ApplyError::Switch(error) => error.switched.iter().map(|(slot, _)| *slot).collect(),
            _ => Vec::new(),
        };
        let (in_force, staged): (Vec<_>, Vec<_>) =
            change.staged.into_iter().partition(|(_, staged)| switched.contains(&staged.slot));
        for (id, staged) in in_force {
            self.settle(&id, staged, set);
        }
        for (_, (registration, _)) in change.claimed {
            self.release(&registration);
        }
        take_back(&mut self.kernel, staged.into_iter().map(|(_, staged)| staged), error)
    }
}
