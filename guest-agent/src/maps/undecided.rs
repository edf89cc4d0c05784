// SPDX-License-Identifier: Apache-2.0
//! How often programs denied for want of a decision, by container and cause.
//!
//! Programs count, each processor for itself; here it is summed up. What a container leaves behind is
//! added to what is no container's, so that the next one of its slot begins at nothing and no count is
//! lost. Never decides what a denial is.

use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use guest_bpf::abi;

use super::{MapsError, Slot, failed};

/// Why nothing could be decided: `enum abi_cause`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "lib/abi.h says what each is")]
pub enum Cause {
    Rules,
    Place,
    Subject,
    Mark,
    Copy,
    Arguments,
    Memory,
    Signal,
}

/// Denials of one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denials {
    /// Number of the registration; 0 = none that is there.
    pub container: u32,
    /// Why.
    pub cause: Cause,
    /// How many.
    pub count: u64,
}

/// Index of what is no container's.
const ELSEWHERE: u32 = abi::MAX_SLOTS;

/// The table.
pub(super) struct Undecided(pub(super) PerCpuArray<MapData, u64>);

// === impl Cause ===

impl Cause {
    /// All of them.
    pub const ALL: [Self; abi::CAUSES as usize] = [
        Self::Rules,
        Self::Place,
        Self::Subject,
        Self::Mark,
        Self::Copy,
        Self::Arguments,
        Self::Memory,
        Self::Signal,
    ];
}

// === impl Undecided ===

impl Undecided {
    /// Those of these containers, and of none.
    pub(super) fn of(&self, slots: impl Iterator<Item = Slot>) -> Result<Vec<Denials>, MapsError> {
        let elsewhere = Slot { index: ELSEWHERE, container: 0 };
        let mut found = Vec::new();
        for slot in slots.chain([elsewhere]) {
            for (number, cause) in (0..).zip(Cause::ALL) {
                let values = self.values(slot.index * abi::CAUSES + number)?;
                let count = values.iter().sum();
                if count > 0 {
                    found.push(Denials { container: slot.container, cause, count });
                }
            }
        }
        Ok(found)
    }

    /// The container is gone.
    pub(super) fn set_aside(&mut self, slot: Slot) -> Result<(), MapsError> {
        for number in 0..abi::CAUSES {
            let (from, to) = (slot.index * abi::CAUSES + number, ELSEWHERE * abi::CAUSES + number);
            let left = self.values(from)?;
            if left.iter().all(|value| *value == 0) {
                continue;
            }
            let kept = self.values(to)?;
            let sums = kept.iter().zip(left.iter()).map(|(kept, left)| kept + left).collect();
            self.write(to, sums)?;
            self.write(from, vec![0; left.len()])?;
        }
        Ok(())
    }

    fn values(&self, index: u32) -> Result<PerCpuValues<u64>, MapsError> {
        self.0.get(&index, 0).map_err(failed("reading what was denied undecided"))
    }

    fn write(&mut self, index: u32, values: Vec<u64>) -> Result<(), MapsError> {
        let failed = |source: aya::maps::MapError| failed("setting denials aside")(source);
        let values = PerCpuValues::try_from(values).map_err(|error| failed(error.into()))?;
        self.0.set(index, values, 0).map_err(failed)
    }
}
