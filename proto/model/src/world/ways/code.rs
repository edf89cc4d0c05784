// SPDX-License-Identifier: Apache-2.0
//! M1 to M11: code that a process makes in memory, as just-in-time compilers do. No rule on a program
//! speaks of it; options do.

use super::{ALLOWED, Action, NOTHING, Way, alone, at, basic::ways, bytes};
use crate::world::Memory;

/// M1 to M11, in their order.
pub const CODE: &[Way] = ways! {
    "M1" "write-then-exec" NOTHING => made(Memory::Anonymous);
    "M2" "anonymous-rwx" NOTHING => made(Memory::AtOnce);
    "M3" "shared-rwx" NOTHING => made(Memory::Shared);
    "M4" "zero-device" NOTHING => made(Memory::Device);
    "M5" "sysv-segment" NOTHING => made(Memory::Segment);
    "M6" "memfd-map" NOTHING => made(Memory::Segment);
    "M7" "ring-entries" NOTHING => made(Memory::Ring);
    "M8" "implied" NOTHING => made(Memory::AtOnce);
    "M9" "implied-heap" NOTHING => made(Memory::Heap);
    "M10" "map-program" NOTHING => alone([Action::Load(at(ALLOWED))]);
    "M11" "protect-program" NOTHING => alone([Action::MapThenProtect(at(ALLOWED))]);
};

fn made(memory: Memory) -> Vec<(super::ProcessId, Action)> {
    alone([Action::Receive(bytes()), Action::Inject(bytes(), memory)])
}
