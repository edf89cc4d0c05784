// SPDX-License-Identifier: Apache-2.0
//! Ways that bring the target's bytes into memory and jump to them.

use rustix::mm::ProtFlags;

use super::copies::foreign_copy;
use crate::memory::Map;
use crate::scene::Scene;
use crate::steps::{Gone, open, read};
use crate::trace::Trace;

pub(super) fn anonymous(scene: &Scene, trace: &Trace) -> Gone {
    let bytes = read(trace, scene.target())?;
    let mut map = Map::anonymous(trace)?;
    map.store(&bytes);
    map.make_executable(trace)?;
    map.jump(trace)
}

pub(super) fn executable(scene: &Scene, trace: &Trace) -> Gone {
    let file = open(trace, scene.target())?;
    Map::file(trace, &file, ProtFlags::READ | ProtFlags::EXEC)?.jump(trace)
}

pub(super) fn protect(scene: &Scene, trace: &Trace) -> Gone {
    let file = open(trace, scene.target())?;
    let map = Map::file(trace, &file, ProtFlags::READ)?;
    map.make_executable(trace)?;
    map.jump(trace)
}

pub(super) fn own_copy(scene: &Scene, trace: &Trace) -> Gone {
    let x = foreign_copy(scene, trace)?;
    let file = trace.step("open x", || std::fs::File::open(&x))?;
    let map = Map::file(trace, &file, ProtFlags::READ)?;
    map.make_executable(trace)?;
    map.jump(trace)
}
