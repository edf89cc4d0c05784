// SPDX-License-Identifier: Apache-2.0
//! What containers have written, and what they have taken of the tables for it.
//!
//! Programs write both while containers run. Here a container's quota begins and ends, and what only it
//! has written is forgotten with it. What several have written stays a written file's mark; it counts
//! in the quota of the next one that writes it.

use std::collections::BTreeSet;

use aya::maps::{Array, HashMap, MapData};
use guest_bpf::abi;

use super::{MapsError, failed, ignore_absent};

/// Entry of `usage` that the agent writes.
const RETURNED: u32 = 1;

/// The tables.
pub(super) struct Written {
    pub(super) taints: HashMap<MapData, abi::TaintKey, abi::Writer>,
    pub(super) quotas: HashMap<MapData, u32, abi::Quota>,
    pub(super) usage: Array<MapData, abi::Quota>,
}

// === impl Written ===

impl Written {
    /// A container without a quota opens nothing for writing where that is looked at.
    pub(super) fn begin(&mut self, container: u32) -> Result<(), MapsError> {
        let quota = abi::Quota::default();
        self.quotas.insert(container, quota, 0).map_err(failed("making a quota"))
    }

    /// What only this container has written is no other's concern.
    pub(super) fn forget(&mut self, container: u32) -> Result<(), MapsError> {
        ignore_absent(self.quotas.remove(&container)).map_err(failed("ending a quota"))?;
        self.forget_all(|writer| writer.container == container)
    }

    /// Forgets what an agent that died has left of containers that are gone, and counts anew.
    pub(super) fn take_over(
        &mut self,
        containers: impl Iterator<Item = u32>,
    ) -> Result<(), MapsError> {
        let known: BTreeSet<u32> = containers.collect();
        let counted: Vec<u32> = self.quotas.keys().filter_map(Result::ok).collect();
        for gone in counted.iter().filter(|container| !known.contains(container)) {
            ignore_absent(self.quotas.remove(gone)).map_err(failed("ending a quota"))?;
        }
        for missing in known.iter().filter(|container| !counted.contains(container)) {
            self.begin(*missing)?;
        }
        self.forget_all(|writer| {
            writer.container != abi::TAINT_SHARED && !known.contains(&writer.container)
        })?;
        let taken = self.usage.get(&0, 0).map_err(failed("reading the usage"))?;
        let entries = u32::try_from(self.taints.keys().count()).unwrap_or(u32::MAX);
        self.set_returned(taken.taints.wrapping_sub(entries))
    }

    fn forget_all(&mut self, is_over: impl Fn(&abi::Writer) -> bool) -> Result<(), MapsError> {
        let entries = self.taints.iter().filter_map(Result::ok);
        let keys: Vec<_> =
            entries.filter(|(_, writer)| is_over(writer)).map(|(key, _)| key).collect();
        let mut returned = self.returned()?;
        for key in keys {
            // A file that was deleted meanwhile was counted by the program that saw it.
            match self.taints.remove(&key) {
                Ok(()) => returned = returned.wrapping_add(1),
                error => ignore_absent(error).map_err(failed("forgetting what it wrote"))?,
            }
        }
        self.set_returned(returned)
    }

    fn returned(&self) -> Result<u32, MapsError> {
        Ok(self.usage.get(&RETURNED, 0).map_err(failed("reading the usage"))?.taints)
    }

    fn set_returned(&mut self, taints: u32) -> Result<(), MapsError> {
        let returned = abi::Quota { taints, inodes: 0 };
        self.usage.set(RETURNED, returned, 0).map_err(failed("writing the usage"))
    }
}
