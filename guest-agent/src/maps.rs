// SPDX-License-Identifier: Apache-2.0
//! The kernel's tables, as the agent writes them.
//!
//! Owns every map but the event ring. Plans, labels and cgroups flow in; what could not be put
//! into force as asked flows out ([`Residue`]). Programs that a set needs and that are not attached
//! yet are loaded before it is written ([`Rare`]). It never decides anything: `lower.rs` has planned,
//! the programs look up. A set is written beside the one in force and switched in one word
//! (`install.rs`); identities are recorded by the kernel while a file is opened (`identity.rs`).

mod actors;
mod exec;
mod holding;
mod identity;
mod install;
mod names;
mod opener;
mod readers;
mod table;
mod takeover;
mod task;
mod undecided;
mod written;

use std::{
    collections::{BTreeSet, HashMap as StdHashMap},
    io,
    path::Path,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use guest_bpf::{abi, hash::HashKey};

use crate::{
    keeper::{self, Keeper},
    loader::Rare,
};
pub(crate) use identity::not_carried;
pub use identity::{Residue, ResidueReason};
use install::Installed;
pub use install::{InstallError, SwitchError};
use names::Names;
pub(crate) use opener::HANGING;
use opener::Opener;
use readers::Readers;
use table::Table;
pub use takeover::{Note, NoteTooLong};
use undecided::Undecided;
pub use undecided::{Cause, Denials};
use written::Written;

/// A registration in the kernel. Slots are used again; the container number is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Index into the kernel's tables.
    pub index: u32,
    /// Number of the registration, never zero.
    pub container: u32,
}

/// What a process runs when it is labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The runtime's own code, which prepares the container: rules hold from its next exec on.
    Preparing,
    /// The container's code.
    Running,
}

/// What the kernel lost or denied for want of a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Events without room in the ring.
    pub events_dropped: u64,
    /// Denials because nothing could be decided.
    pub fail_closed: u64,
    /// Execs of tasks in no container.
    pub guard_denied: u64,
    /// Of `fail_closed`, by container and cause.
    pub undecided: Vec<Denials>,
}

/// Why a table could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// The kernel refused.
    #[error("{operation}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        #[source]
        source: MapError,
    },
    /// A table has as many entries as the guest's memory allows for.
    #[error(
        "{0}: the table is full; give the guest more memory, which makes its tables larger, or \
         its containers fewer rules"
    )]
    Exhausted(&'static str),
    /// The kernel refused a task or file.
    #[error("{operation} of pid {pid}")]
    Task {
        /// What was tried.
        operation: &'static str,
        /// The process.
        pid: u32,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The object has no such table: it was not built from this source.
    #[error("the BPF object has no map `{0}`")]
    Missing(&'static str),
    /// As many containers as the engine has room for.
    #[error("all {} container slots are taken", abi::MAX_SLOTS)]
    Full,
    /// The slot was released, or never allocated.
    #[error("slot {0} is not registered")]
    NotRegistered(u32),
    /// What is to be noted of a container is too long.
    #[error(transparent)]
    Note(#[from] NoteTooLong),
    /// The kernel gave no map to wait for its programs with.
    #[error("no map to wait for programs with: {0}")]
    Readers(#[source] io::Error),
    /// The kernel gave no randomness for the hash key.
    #[error("no random hash key: {0}")]
    Random(getrandom::Error),
}

/// The kernel's tables.
pub struct Maps {
    tasks: MapData,
    slots: Array<MapData, abi::Slot>,
    sets: Array<MapData, abi::Set>,
    nodes: Table<u64, abi::Node>,
    names: Names,
    decisions: Table<abi::DecisionKey, abi::Decision>,
    subjects: Table<abi::SubjectKey, u32>,
    inodes: HashMap<MapData, abi::InodeKey, u32>,
    written: Written,
    probes: Array<MapData, abi::Probe>,
    cgroups: HashMap<MapData, u64, u32>,
    records: HashMap<MapData, u32, abi::Record>,
    settings: Array<MapData, abi::Settings>,
    counters: PerCpuArray<MapData, u64>,
    undecided: Undecided,
    rare: Rare,
    hash_key: HashKey,
    opener: Opener,
    readers: Readers,
    keeper: Keeper,
    installed: StdHashMap<u32, Installed>,
    /// Written, and not in force yet.
    staged: StdHashMap<u32, Installed>,
    /// Out of force, and not erased yet: it is not known whether a program still uses them.
    retired: Vec<Installed>,
    free: BTreeSet<u32>,
    last_container: u32,
    last_set: u32,
}

// === impl Maps ===

impl Maps {
    /// Takes the tables of a loaded object and gives it a fresh hash key.
    ///
    /// # Errors
    /// If a table is missing or cannot be written.
    pub(crate) fn fresh(
        ebpf: &mut Ebpf,
        settings: abi::Settings,
        pins: &Path,
    ) -> Result<Self, MapsError> {
        let take = &mut |name| ebpf.take_map(name).ok_or(MapsError::Missing(name));
        let mut maps = Self::open(take, pins)?;
        maps.hash_key = random_key()?;
        let settings = abi::Settings { hash_key: maps.hash_key.0, ..settings };
        maps.settings.set(0, settings, 0).map_err(failed("writing the settings"))?;
        Ok(maps)
    }

    fn open(source: &mut Source<'_>, pins: &Path) -> Result<Self, MapsError> {
        Ok(Self {
            tasks: raw(source, "tasks")?,
            slots: take(source, "slots", Array::try_from)?,
            sets: take(source, "sets", Array::try_from)?,
            nodes: take(source, "nodes", Table::try_from)?,
            names: Names::open(take(source, "known_names", Array::try_from)?)?,
            decisions: take(source, "decisions", Table::try_from)?,
            subjects: take(source, "subjects", Table::try_from)?,
            inodes: take(source, "inodes", HashMap::try_from)?,
            written: Written {
                taints: take(source, "taints", HashMap::try_from)?,
                quotas: take(source, "quotas", HashMap::try_from)?,
                usage: take(source, "usage", Array::try_from)?,
            },
            probes: take(source, "probes", Array::try_from)?,
            cgroups: take(source, "cgroups", HashMap::try_from)?,
            records: take(source, "records", HashMap::try_from)?,
            settings: take(source, "settings", Array::try_from)?,
            counters: take(source, "counters", PerCpuArray::try_from)?,
            undecided: Undecided(take(source, "undecided", PerCpuArray::try_from)?),
            rare: Rare::at(pins),
            hash_key: HashKey([0; 2]),
            opener: Opener::default(),
            readers: Readers::new().map_err(MapsError::Readers)?,
            keeper: Keeper::at(Path::new(keeper::SOCKET)),
            installed: StdHashMap::new(),
            staged: StdHashMap::new(),
            retired: Vec::new(),
            free: (0..abi::MAX_SLOTS).collect(),
            last_container: 0,
            last_set: 0,
        })
    }

    /// A free slot. Everything is denied in it until a set is installed.
    ///
    /// # Errors
    /// If none is free.
    pub fn allocate(&mut self) -> Result<Slot, MapsError> {
        let index = self.free.pop_first().ok_or(MapsError::Full)?;
        self.last_container += 1;
        let slot = Slot { index, container: self.last_container };
        self.written.begin(slot.container)?;
        self.switch(slot, 0).inspect_err(|_| {
            self.free.insert(index);
        })?;
        self.installed.insert(index, Installed::none(slot));
        Ok(slot)
    }

    /// Tasks of this cgroup without a label get the slot's at exec.
    ///
    /// # Errors
    /// If the kernel has no room.
    pub fn bind_cgroup(&mut self, cgroup: u64, slot: Slot) -> Result<(), MapsError> {
        self.cgroups.insert(cgroup, slot.index, 0).map_err(failed("binding the cgroup"))
    }

    /// The guard lets tasks of this cgroup pass.
    ///
    /// # Errors
    /// If the kernel has no room.
    pub fn exempt_cgroup(&mut self, cgroup: u64) -> Result<(), MapsError> {
        self.cgroups.insert(cgroup, abi::SLOT_EXEMPT, 0).map_err(failed("exempting the cgroup"))
    }

    /// Labels every thread of a process; those that they start inherit the label.
    ///
    /// # Errors
    /// If the process is gone or the kernel refuses.
    pub fn label(&mut self, pid: u32, slot: Slot, phase: Phase) -> Result<(), MapsError> {
        self.check_registered(slot)?;
        let label = abi::Task {
            slot: slot.index,
            container: slot.container,
            pending: u32::from(phase == Phase::Preparing),
            ..abi::Task::default()
        };
        task::label(&self.tasks, pid, &label)
    }

    /// Forgets a registration. A task that still has its label is denied everything.
    ///
    /// # Errors
    /// If the kernel refuses; the slot is not used again then.
    pub fn release(&mut self, slot: Slot, cgroup: Option<u64>) -> Result<(), MapsError> {
        self.check_registered(slot)?;
        self.slots
            .set(slot.index, abi::Slot::default(), 0)
            .map_err(failed("releasing the slot"))?;
        if let Some(cgroup) = cgroup {
            ignore_absent(self.cgroups.remove(&cgroup)).map_err(failed("unbinding the cgroup"))?;
        }
        ignore_absent(self.records.remove(&slot.index)).map_err(failed("forgetting a record"))?;
        self.undecided.set_aside(slot)?;
        if let Some(installed) = self.installed.remove(&slot.index) {
            self.opener.forget(slot.container);
            if let Err(error) = self.keeper.release(slot.container) {
                tracing::warn!(%error, "files of a container that is gone stay open");
            }
            self.retire(installed)?;
            self.written.forget(slot.container)?;
        }
        self.unstage(slot)?;
        self.free.insert(slot.index);
        Ok(())
    }

    /// Sums over all processors.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn counters(&self) -> Result<KernelCounters, MapsError> {
        let sum = |index: u32| -> Result<u64, MapsError> {
            let values = self.counters.get(&index, 0).map_err(failed("reading the counters"))?;
            Ok(values.iter().sum())
        };
        Ok(KernelCounters {
            events_dropped: sum(abi::EVENTS_DROPPED)?,
            fail_closed: sum(abi::FAIL_CLOSED_DENIALS)?,
            guard_denied: sum(abi::GUARD_DENIALS)?,
            undecided: self.undecided.of(self.installed.values().map(|it| it.slot))?,
        })
    }

    fn check_registered(&self, slot: Slot) -> Result<(), MapsError> {
        match self.installed.get(&slot.index) {
            Some(installed) if installed.slot == slot => Ok(()),
            _ => Err(MapsError::NotRegistered(slot.index)),
        }
    }

    /// Puts a set into force: one word, seen whole or not at all.
    fn switch(&mut self, slot: Slot, set: u32) -> Result<(), MapsError> {
        let word = abi::Slot { container: slot.container, set };
        self.slots.set(slot.index, word, 0).map_err(failed("switching the slot"))
    }
}

fn random_key() -> Result<HashKey, MapsError> {
    let word = || getrandom::u64().map_err(MapsError::Random);
    Ok(HashKey([word()?, word()?]))
}

/// Where a map of this name comes from: a loaded object, or its pin.
type Source<'a> = dyn FnMut(&'static str) -> Result<Map, MapsError> + 'a;

fn raw(source: &mut Source<'_>, name: &'static str) -> Result<MapData, MapsError> {
    match source(name)? {
        // Task storage has no type of its own in aya; its descriptor is all that is needed.
        Map::Unsupported(data) => Ok(data),
        _ => Err(MapsError::Missing(name)),
    }
}

fn take<T>(
    source: &mut Source<'_>,
    name: &'static str,
    convert: impl FnOnce(Map) -> Result<T, MapError>,
) -> Result<T, MapsError> {
    convert(source(name)?).map_err(failed("opening a map"))
}

fn failed(operation: &'static str) -> impl FnOnce(MapError) -> MapsError {
    move |source| match &source {
        MapError::SyscallError(error)
            if error.io_error.raw_os_error() == Some(nix::libc::E2BIG) =>
        {
            MapsError::Exhausted(operation)
        }
        _ => MapsError::Map { operation, source },
    }
}

fn ignore_absent(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(nix::libc::ENOENT) =>
        {
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn a_full_table_is_told_from_other_errors_and_names_the_remedy() {
        let answer = |errno| {
            let io_error = io::Error::from_raw_os_error(errno);
            let error = SyscallError { call: "bpf_map_update_elem", io_error };
            failed("writing a place")(MapError::SyscallError(error)).to_string()
        };
        assert!(answer(nix::libc::E2BIG).contains("give the guest more memory"));
        assert_eq!(answer(nix::libc::ENOMEM), "writing a place");
    }
}
