// SPDX-License-Identifier: Apache-2.0
//! Code that a process makes in memory, as just-in-time compilers do, or maps from a program.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags};

use crate::elf;
use crate::memory::{Map, imply_execution};
use crate::ring;
use crate::scene::Scene;
use crate::steps::Gone;
use crate::trace::{Cause, Trace};

pub(super) fn written_then_executable(_: &Scene, trace: &Trace) -> Gone {
    let mut map = Map::anonymous(trace)?;
    map.store(&elf::target(""));
    map.make_executable(trace)?;
    map.jump(trace)
}

pub(super) fn at_once(_: &Scene, trace: &Trace) -> Gone {
    run(trace, Map::at_once(trace, MapFlags::PRIVATE, None)?)
}

pub(super) fn shared(_: &Scene, trace: &Trace) -> Gone {
    run(trace, Map::at_once(trace, MapFlags::SHARED, None)?)
}

pub(super) fn zero_device(_: &Scene, trace: &Trace) -> Gone {
    let open = || OpenOptions::new().read(true).write(true).open("/dev/zero");
    let zero = trace.step("open /dev/zero", open)?;
    run(trace, Map::at_once(trace, MapFlags::SHARED, Some((zero.as_fd(), 0)))?)
}

pub(super) fn segment(_: &Scene, trace: &Trace) -> Gone {
    run(trace, Map::segment(trace)?)
}

pub(super) fn memfd(_: &Scene, trace: &Trace) -> Gone {
    let file = trace.step("memfd_create", || {
        let file = memfd_create("code", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, 4096).map(|()| file)
    })?;
    run(trace, Map::at_once(trace, MapFlags::SHARED, Some((file.as_fd(), 0)))?)
}

pub(super) fn ring_entries(_: &Scene, trace: &Trace) -> Gone {
    let (ring, offset) = trace.step("io_uring_setup", ring::entries)?;
    run(trace, Map::at_once(trace, MapFlags::SHARED, Some((ring.as_fd(), offset)))?)
}

pub(super) fn implied(_: &Scene, trace: &Trace) -> Gone {
    imply_execution(trace)?;
    run(trace, Map::anonymous(trace)?)
}

pub(super) fn implied_heap(_: &Scene, trace: &Trace) -> Gone {
    imply_execution(trace)?;
    run(trace, Map::heap(trace)?)
}

pub(super) fn map_program(scene: &Scene, trace: &Trace) -> Gone {
    let file = allowed(scene, trace)?;
    Map::file(trace, &file, ProtFlags::READ | ProtFlags::EXEC)?.jump(trace)
}

pub(super) fn protect_program(scene: &Scene, trace: &Trace) -> Gone {
    let file = allowed(scene, trace)?;
    let map = Map::file(trace, &file, ProtFlags::READ)?;
    map.make_executable(trace)?;
    map.jump(trace)
}

fn run(trace: &Trace, mut map: Map) -> Gone {
    map.store(&elf::target(""));
    map.jump(trace)
}

fn allowed(scene: &Scene, trace: &Trace) -> Result<File, Cause> {
    trace.step("open A", || File::open(&scene.image.allowed))
}
