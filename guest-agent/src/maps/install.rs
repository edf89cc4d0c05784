// SPDX-License-Identifier: Apache-2.0
//! One set takes the place of another: all written, then switched, then the old one erased.
//!
//! Every key carries the number of its set, so that the two never mix. If anything fails before
//! the switch, what was written is erased and the old set stays in force.

use aya::maps::MapError;
use guest_bpf::{abi, hash};

use super::{
    Maps, MapsError, Residue, Slot, failed,
    identity::{Held, Identities},
    ignore_absent, task,
};
use crate::{
    identify::Findings,
    loader::LoadError,
    lower::{JudgedClass, Plan},
};

/// Refuses to replace: a key that is there already is a collision of hashes.
const BPF_NOEXIST: u64 = 1;

/// Tries with other numbers, hence other hashes, after a collision. Two places of a set of a
/// million collide once in about 40 million sets.
const MAX_TRIES: u32 = 3;

/// Why a set is not in force. The one before it is.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
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
            held: Vec::new(),
        }
    }
}

// === impl Maps ===

impl Maps {
    /// Puts a plan into force in a slot, with the files that were found for it.
    ///
    /// # Errors
    /// If anything could not be written; the set before it stays in force.
    pub fn install(
        &mut self,
        slot: Slot,
        plan: &Plan,
        findings: &Findings,
    ) -> Result<Vec<Residue>, InstallError> {
        self.check_registered(slot)?;
        self.rare.ensure(plan.flags)?;
        for _ in 0..MAX_TRIES {
            let mut next = Installed { set: self.next_set(slot), ..Installed::none(slot) };
            match self.write(&mut next, plan, findings) {
                Ok(Some(residues)) => {
                    self.put_into_force(next, plan)?;
                    return Ok(residues);
                }
                Ok(None) => self.erase(next)?,
                Err(error) => {
                    self.erase(next)?;
                    return Err(error);
                }
            }
        }
        Err(InstallError::Collisions)
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
        plan: &Plan,
        findings: &Findings,
    ) -> Result<Option<Vec<Residue>>, InstallError> {
        if !self.write_places(next, plan)? {
            return Ok(None);
        }
        for judged in &plan.classes {
            self.write_class(next, judged)?;
        }
        for (class, subject) in &plan.subjects {
            let key = abi::SubjectKey { set: next.set, class_id: *class };
            self.subjects.insert(key, subject, 0).map_err(failed("writing a subject"))?;
            next.subjects.push(key);
        }
        let residues = self.hold(next, plan, findings)?;
        self.write_set(next, plan)?;
        Ok(Some(residues))
    }

    fn write_places(&mut self, next: &mut Installed, plan: &Plan) -> Result<bool, MapsError> {
        self.names.add(plan.places.iter().map(|planned| planned.place.name.as_str()))?;
        let mut hashes: Vec<hash::Place> = Vec::with_capacity(plan.places.len());
        for planned in &plan.places {
            let parent = planned.place.parent.and_then(|at| hashes.get(at)).copied();
            let hash = match parent {
                Some(parent) => self.hash_key.step(parent, planned.place.name.as_bytes()),
                None => self.hash_key.root(next.set, planned.place.dev),
            };
            hashes.push(hash);
            let node = abi::Node { set: next.set, ..planned.node };
            match self.nodes.insert(hash.0, node, BPF_NOEXIST) {
                Ok(()) => next.nodes.push(hash.0),
                Err(error) if exists(&error) => return Ok(false),
                Err(error) => return Err(failed("writing a place")(error)),
            }
        }
        Ok(true)
    }

    pub(super) fn write_class(
        &mut self,
        next: &mut Installed,
        judged: &JudgedClass,
    ) -> Result<u32, MapsError> {
        next.last_class += 1;
        let class = next.last_class;
        for (category, subject, decision) in &judged.decisions {
            let key = abi::DecisionKey {
                set: next.set,
                class_id: class,
                subject: *subject,
                category: *category,
            };
            self.decisions.insert(key, decision, 0).map_err(failed("writing a decision"))?;
            next.decisions.push(key);
        }
        Ok(class)
    }

    fn write_set(&mut self, next: &Installed, plan: &Plan) -> Result<(), MapsError> {
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

    fn put_into_force(&mut self, mut next: Installed, plan: &Plan) -> Result<(), MapsError> {
        let slot = next.slot;
        if let Err(error) = self.switch(slot, next.set) {
            self.erase(next)?;
            return Err(error);
        }
        task::wait_for_readers();
        // Once more: a copy-up may have added to the old set until nobody used it.
        let carried = self.carry(&mut next, plan);
        if let Some(old) = self.installed.insert(slot.index, next) {
            self.erase(old)?;
        }
        carried
    }

    /// Takes out of the kernel what nobody looks up any more.
    pub(super) fn erase(&mut self, installed: Installed) -> Result<(), MapsError> {
        for key in &installed.nodes {
            ignore_absent(self.nodes.remove(key)).map_err(failed("erasing a place"))?;
        }
        for key in &installed.decisions {
            ignore_absent(self.decisions.remove(key)).map_err(failed("erasing a decision"))?;
        }
        for key in &installed.subjects {
            ignore_absent(self.subjects.remove(key)).map_err(failed("erasing a subject"))?;
        }
        self.erase_identities(installed.set)
    }
}

fn exists(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error)
        if error.io_error.raw_os_error() == Some(nix::libc::EEXIST))
}
