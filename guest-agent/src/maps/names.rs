// SPDX-License-Identifier: Apache-2.0
//! The names that nodes have, as a filter: what is not in it needs no walk.
//!
//! Names of every set that is written flow in; the kernel's `known_names` is written. A name is never
//! taken out: another set may have it, and one too many costs its users a walk. The agent alone
//! writes here, so that the whole value can be written at once.

use aya::maps::{Array, MapData};
use guest_bpf::abi;

use super::{MapsError, failed};

/// The filter, and the kernel's copy of it.
pub(super) struct Names {
    map: Array<MapData, abi::Filter>,
    filter: Box<abi::Filter>,
    /// Whether the kernel's copy lacks something.
    behind: bool,
}

// === impl Names ===

impl Names {
    /// With what an earlier agent has written.
    pub(super) fn open(map: Array<MapData, abi::Filter>) -> Result<Self, MapsError> {
        let filter = Box::new(map.get(&0, 0).map_err(failed("reading the names"))?);
        Ok(Self { map, filter, behind: false })
    }

    /// Adds names; when this returns, the programs know them.
    pub(super) fn add<'n>(
        &mut self,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), MapsError> {
        for name in names {
            self.behind |= self.filter.add(name.as_bytes());
        }
        if self.behind {
            self.map.set(0, self.filter.as_ref(), 0).map_err(failed("writing the names"))?;
        }
        self.behind = false;
        Ok(())
    }
}
