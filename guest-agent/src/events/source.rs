// SPDX-License-Identifier: Apache-2.0
//! Where events come from: the kernel's ring, and the numbers that outlive an agent.

use std::mem::offset_of;

use aya::maps::{Array, MapData, MapError, PerCpuArray, RingBuf};
use guest_bpf::abi;

use super::journal::Novelty;

/// Places in the map `journal`.
const LAST: u32 = 0;
const REPORTED_DROPS: u32 = 1;

/// The ring, with what an agent that takes over must know of it.
pub struct Source {
    /// Records of the programs.
    pub ring: RingBuf<MapData>,
    /// Numbers that were given out.
    pub numbers: Numbers,
    /// What had no room in the ring.
    pub drops: Drops,
    /// Registration of the self-test: its denials are nobody's.
    pub self_test: u32,
}

/// Numbers of events in a pinned map, so that they go on where the agent before stopped.
pub struct Numbers(pub Array<MapData, u64>);

/// The kernel's counters, read without the thread that owns the other tables.
pub struct Drops(pub PerCpuArray<MapData, u64>);

// === impl Drops ===

impl Drops {
    /// Events without room in the ring, since the guest's boot.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn total(&self) -> Result<u64, MapError> {
        Ok(self.0.get(&abi::EVENTS_DROPPED, 0)?.iter().sum())
    }
}

// === impl Numbers ===

impl Numbers {
    /// Number of the last event, and the losses that were reported.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn load(&self) -> Result<(u64, u64), MapError> {
        Ok((self.0.get(&LAST, 0)?, self.0.get(&REPORTED_DROPS, 0)?))
    }

    /// To be called before anybody sees the events: after a crash they count as lost, not as new.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn store(&mut self, last: u64, reported_drops: u64) -> Result<(), MapError> {
        self.0.set(LAST, last, 0)?;
        self.0.set(REPORTED_DROPS, reported_drops, 0)
    }
}

/// How much a record tells that none before it did.
pub(super) fn novelty_of(record: &[u8]) -> Novelty {
    match record.get(offset_of!(abi::Event, novelty)) {
        Some(&abi::NEW_RULE) => Novelty::Rule,
        Some(&abi::NEW_OBJECT) => Novelty::Object,
        _ => Novelty::Repeat,
    }
}

/// Registration that a record is about.
pub(super) fn container_of(record: &[u8]) -> Option<u32> {
    let at = offset_of!(abi::Event, container);
    let number = record.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(number))
}
