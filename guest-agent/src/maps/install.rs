// SPDX-License-Identifier: Apache-2.0
//! One set takes the place of another: all written (staged), then switched, then the old one erased.
//!
//! Every key carries the number of its set, so that the two never mix. If anything fails before
//! the switch, what was written is erased and the old set stays in force; sets of several containers
//! are staged one by one and switched together, or none of them is. What fails after the switch
//! leaves the new set in force, and is no error of the set.

use std::collections::{BTreeSet, HashSet};

use guest_bpf::{abi, hash};

use super::{
    Maps, MapsError, Residue, Slot, failed,
    identity::{Held, Identities},
};
use crate::{
    identify::Findings,
    loader::LoadError,
    lower::{JudgedClass, Plan},
    reason,
};

/// Tries with other numbers, hence other hashes, after a collision. Two places of a set of a
/// million collide once in about 40 million sets.
const MAX_TRIES: u32 = 3;

/// Why a set is not in force. The one before it is.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It failed, and left something in the tables that no program looks up.
    #[error("{}; and what was written before could not be erased", reason::of(&**first))]
    NotErased {
        /// Why it failed.
        first: Box<InstallError>,
        /// Why that could not be erased.
        #[source]
        second: MapsError,
    },
    /// A table could not be written.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// A program that the set needs is not attached.
    #[error("a program that the rule set needs cannot be loaded")]
    Programs(#[from] LoadError),
    /// The kernel could not record a file that is to be held by identity.
    #[error("the identity of `{identity}` could not be recorded: {reason}")]
    Identity {
        /// Path in the container, or content.
        identity: String,
        /// What went wrong.
        reason: String,
    },
    /// Hashes collided again and again, which chance does not do.
    #[error("path hashes collided {MAX_TRIES} times")]
    Collisions,
}

/// Why sets that were staged are not in force.
#[derive(Debug, thiserror::Error)]
#[error("{source}{}", told(switched))]
pub struct SwitchError {
    /// What failed first.
    #[source]
    pub source: MapsError,
    /// Slots that had been switched and could not be switched back: their new set is in force.
    pub switched: Vec<(Slot, MapsError)>,
}

/// What is in the kernel for one slot.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) slot: Slot,
    pub(super) set: u32,
    pub(super) nodes: Vec<u64>,
    pub(super) decisions: Vec<abi::DecisionKey>,
    pub(super) subjects: Vec<abi::SubjectKey>,
    /// Number of the last class.
    pub(super) last_class: u32,
    /// Classes of what is held by identity.
    pub(super) identities: Identities,
    /// Subjects by inode: sources that the inodes of a class are held for.
    pub(super) actors: Vec<BTreeSet<u32>>,
    /// Keep the inodes, so that their numbers are not given to other files.
    pub(super) held: Vec<Held>,
}

// === impl Installed ===

impl Installed {
    pub(super) fn none(slot: Slot) -> Self {
        Self {
            slot,
            set: 0,
            nodes: Vec::new(),
            decisions: Vec::new(),
            subjects: Vec::new(),
            last_class: 0,
            identities: Identities::new(),
            actors: Vec::new(),
            held: Vec::new(),
        }
    }
}

// === impl Maps ===

impl Maps {
    /// Writes a plan beside what is in force in a slot, with the files that were found for it.
    ///
    /// # Errors
    /// If anything could not be written; nothing is staged then.
    pub fn stage(
        &mut self,
        slot: Slot,
        plan: &Plan<'_>,
        findings: &Findings,
    ) -> Result<Vec<Residue>, InstallError> {
        self.check_registered(slot)?;
        self.unstage(slot)?;
        self.rare.ensure(plan.flags)?;
        for _ in 0..MAX_TRIES {
            let mut next = Installed { set: self.next_set(slot), ..Installed::none(slot) };
            match self.write(&mut next, plan, findings) {
                Ok(Some(residues)) => {
                    self.staged.insert(slot.index, next);
                    return Ok(residues);
                }
                Ok(None) => self.erase(next)?,
                Err(first) => return Err(self.erase_after(next, first)),
            }
        }
        Err(InstallError::Collisions)
    }

    /// Takes back what was staged for a slot, if anything was.
    ///
    /// # Errors
    /// If the kernel refuses; no program looks it up all the same.
    pub fn unstage(&mut self, slot: Slot) -> Result<(), MapsError> {
        self.staged.remove(&slot.index).map_or(Ok(()), |staged| self.erase(staged))
    }

    /// Puts what is staged for these slots into force, for all of them or for none.
    ///
    /// # Errors
    /// If the kernel refuses; the error names those for which it was too late.
    pub fn switch_all(&mut self, slots: &[Slot]) -> Result<(), SwitchError> {
        for (at, slot) in slots.iter().enumerate() {
            let next = self.staged.get(&slot.index).map(|staged| staged.set);
            let switched = match next {
                Some(set) => self.switch(*slot, set),
                None => Err(MapsError::NotRegistered(slot.index)),
            };
            if let Err(source) = switched {
                let before = slots.get(..at).unwrap_or_default();
                let back = before
                    .iter()
                    .filter_map(|slot| self.switch_back(*slot).err().map(|error| (*slot, error)));
                return Err(SwitchError { source, switched: back.collect() });
            }
        }
        Ok(())
    }

    fn switch_back(&mut self, slot: Slot) -> Result<(), MapsError> {
        let set = self.installed.get(&slot.index).map_or(0, |installed| installed.set);
        self.switch(slot, set)
    }

    /// After the switch: what was in force before is carried over once more and erased.
    ///
    /// # Errors
    /// If the kernel refuses. The new set is in force, and may lack files that were copied up in the
    /// moment of the switch.
    pub fn settle(&mut self, slot: Slot, plan: &Plan<'_>) -> Result<(), MapsError> {
        let Some(mut next) = self.staged.remove(&slot.index) else { return Ok(()) };
        let waited = self.await_readers();
        // Once more: a copy-up may have added to the old set until it was used no more.
        let carried = self.carry(&mut next, plan);
        self.retired.extend(self.installed.insert(slot.index, next));
        if waited && let Err(error) = self.erase_retired() {
            let error = reason::of(&error);
            tracing::error!(error, "a rule set that is out of force stays in memory");
        }
        carried
    }

    /// Both errors, if there are two.
    fn erase_after(&mut self, next: Installed, first: InstallError) -> InstallError {
        match self.erase(next) {
            Ok(()) => first,
            Err(second) => InstallError::NotErased { first: Box::new(first), second },
        }
    }

    /// Numbers of one slot alternate in their lowest bit: it chooses between the slot's two records.
    fn next_set(&mut self, slot: Slot) -> u32 {
        let current = self.installed.get(&slot.index).map_or(0, |installed| installed.set);
        self.last_set += 1;
        if self.last_set & 1 == current & 1 {
            self.last_set += 1;
        }
        self.last_set
    }

    /// Writes all but the switch; none if two places have one hash.
    fn write(
        &mut self,
        next: &mut Installed,
        plan: &Plan<'_>,
        findings: &Findings,
    ) -> Result<Option<Vec<Residue>>, InstallError> {
        if !self.write_places(next, plan)? {
            return Ok(None);
        }
        self.write_classes(next, &plan.classes)?;
        for (class, arguments) in &plan.arguments {
            self.write_arguments(next, *class, arguments)?;
        }
        let set = next.set;
        let key = |class_id| abi::SubjectKey { set, class_id };
        let subjects = plan.subjects.iter().map(|(class, subject)| (key(*class), *subject));
        self.subjects.write(subjects, &mut next.subjects).map_err(failed("writing a subject"))?;
        let residues = self.hold(next, plan, findings)?;
        self.write_set(next, plan)?;
        Ok(Some(residues))
    }

    fn write_places(&mut self, next: &mut Installed, plan: &Plan<'_>) -> Result<bool, MapsError> {
        self.names.add(plan.places.iter().map(|planned| planned.place.name.as_str()))?;
        let mut hashes: Vec<hash::Place> = Vec::with_capacity(plan.places.len());
        for planned in &plan.places {
            let parent = planned.place.parent.and_then(|at| hashes.get(at)).copied();
            let hash = match parent {
                Some(parent) => self.hash_key.step(parent, planned.place.name.as_bytes()),
                None => self.hash_key.root(next.set, planned.place.dev),
            };
            hashes.push(hash);
        }
        let known = self.installed.values().chain(self.staged.values()).chain(&self.retired);
        let known = known.flat_map(|installed| &installed.nodes);
        if collide(&hashes, known) {
            return Ok(false);
        }
        let nodes = plan.places.iter().map(|planned| abi::Node { set: next.set, ..planned.node });
        let nodes = hashes.iter().map(|hash| hash.0).zip(nodes);
        self.nodes.write(nodes, &mut next.nodes).map_err(failed("writing a place"))?;
        Ok(true)
    }

    /// Gives numbers to classes, in order, and writes what is decided of them.
    fn write_classes(
        &mut self,
        next: &mut Installed,
        classes: &[JudgedClass],
    ) -> Result<(), MapsError> {
        let set = next.set;
        let numbered = (next.last_class + 1..).zip(classes);
        next.last_class += u32::try_from(classes.len()).unwrap_or(u32::MAX);
        let entries = numbered.flat_map(|(class_id, judged)| {
            judged.decisions.iter().map(move |&(category, subject, decision)| {
                (abi::DecisionKey { set, class_id, subject, category }, decision)
            })
        });
        self.decisions.write(entries, &mut next.decisions).map_err(failed("writing a decision"))
    }

    pub(super) fn write_class(
        &mut self,
        next: &mut Installed,
        judged: &JudgedClass,
    ) -> Result<u32, MapsError> {
        self.write_classes(next, std::slice::from_ref(judged))?;
        Ok(next.last_class)
    }

    fn write_set(&mut self, next: &Installed, plan: &Plan<'_>) -> Result<(), MapsError> {
        let set = abi::Set {
            generation: plan.generation,
            id: next.set,
            flags: plan.flags,
            depth: plan.depth(),
            process_default: plan.process_default,
            file_default: plan.file_default,
            pad: [0; 2],
            shares: plan.shares,
        };
        let index = next.slot.index * 2 + (next.set & 1);
        self.sets.set(index, set, 0).map_err(failed("writing the set"))
    }

    /// Whether every program has ended that began before.
    fn await_readers(&self) -> bool {
        let waited = self.readers.wait();
        if let Err(error) = &waited {
            tracing::error!(%error, "the rule set before stays in memory: its readers are not known");
        }
        waited.is_ok()
    }

    /// Erases what was just taken out of force, unless a program may still use it: for that there is
    /// a next time.
    pub(super) fn retire(&mut self, installed: Installed) -> Result<(), MapsError> {
        self.retired.push(installed);
        if self.await_readers() { self.erase_retired() } else { Ok(()) }
    }

    fn erase_retired(&mut self) -> Result<(), MapsError> {
        while let Some(retired) = self.retired.pop() {
            self.erase(retired)?;
        }
        Ok(())
    }

    /// Takes out of the kernel what nobody looks up any more.
    pub(super) fn erase(&mut self, installed: Installed) -> Result<(), MapsError> {
        let Installed { set, nodes, decisions, subjects, .. } = installed;
        self.nodes.erase(&nodes).map_err(failed("erasing a place"))?;
        self.decisions.erase(&decisions).map_err(failed("erasing a decision"))?;
        self.subjects.erase(&subjects).map_err(failed("erasing a subject"))?;
        self.erase_identities(set)
    }
}

fn told(switched: &[(Slot, MapsError)]) -> String {
    match switched {
        [] => String::new(),
        [(_, error), ..] => {
            let (count, error) = (switched.len(), reason::of(error));
            format!("; and {count} containers are under the new rule set already, since: {error}")
        }
    }
}

/// Whether one of these places has the hash of another, of its own set or of one that is known, whose
/// entry it would replace. Nobody but the agent writes places, and it knows all that are in force.
fn collide<'k>(hashes: &[hash::Place], mut known: impl Iterator<Item = &'k u64>) -> bool {
    let fresh: HashSet<u64> = hashes.iter().map(|hash| hash.0).collect();
    fresh.len() < hashes.len() || known.any(|hash| fresh.contains(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_that_came_first_is_told_before_what_followed_from_it() {
        let first = Box::new(MapsError::Exhausted("writing a place").into());
        let second = MapsError::NotRegistered(7);
        let told = reason::of(&InstallError::NotErased { first, second });
        let (one, other) = (told.find("the table is full"), told.find("slot 7"));
        assert!(one.is_some() && one < other, "{told}");
    }

    #[test]
    fn containers_that_could_not_be_switched_back_are_told() {
        let slot = Slot { index: 1, container: 1 };
        let source = || MapsError::NotRegistered(2);
        let clean = SwitchError { source: source(), switched: Vec::new() };
        assert_eq!(clean.to_string(), "slot 2 is not registered");
        let switched = vec![(slot, MapsError::Full)];
        let told = SwitchError { source: source(), switched }.to_string();
        assert!(told.contains("slot 2") && told.contains("1 containers are under"), "{told}");
    }

    #[test]
    fn a_place_collides_with_one_of_its_set_and_with_one_in_force() {
        let hashes = |hashes: &[u64]| hashes.iter().copied().map(hash::Place).collect::<Vec<_>>();
        assert!(!collide(&hashes(&[1, 2, 3]), [4, 5].iter()));
        assert!(collide(&hashes(&[1, 2, 1]), [].iter()));
        assert!(collide(&hashes(&[1, 2, 3]), [4, 2].iter()));
    }
}
