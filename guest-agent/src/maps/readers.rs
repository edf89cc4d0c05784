// SPDX-License-Identifier: Apache-2.0
//! Waiting for programs that may still use what was just taken out of force.
//!
//! Nothing flows in but the call. A program runs inside a read-side section of RCU, and the kernel
//! waits for a grace period of its own when user space replaces a map in a map: so one such entry is
//! replaced by itself. Unlike membarrier(2), which returns at once where one processor is online, this
//! is right on a preemptible kernel too. It says nothing of sleepable programs, of which there are none.
//! <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/syscall.c#L145-L158>
//! <https://github.com/torvalds/linux/blob/v6.12/kernel/sched/membarrier.c#L590-L597>

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::libc;

/// `bpf(2)` commands and map types (include/uapi/linux/bpf.h).
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// `union bpf_attr` of the command that makes a map, as far as it is needed.
#[repr(C)]
struct NewMap {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// `union bpf_attr` of the map commands.
#[repr(C)]
struct MapElement {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// An array with one map in it, neither of which any program uses.
#[derive(Debug)]
pub(super) struct Readers {
    outer: OwnedFd,
    inner: OwnedFd,
}

// === impl Readers ===

impl Readers {
    pub(super) fn new() -> io::Result<Self> {
        let inner = create(BPF_MAP_TYPE_ARRAY, 0)?;
        let template = inner.as_raw_fd().cast_unsigned();
        let outer = create(BPF_MAP_TYPE_ARRAY_OF_MAPS, template)?;
        Ok(Self { outer, inner })
    }

    /// Returns when every program that began before the call has ended.
    pub(super) fn wait(&self) -> io::Result<()> {
        let (key, value) = (0_u32, self.inner.as_raw_fd());
        let attributes = MapElement {
            map_fd: self.outer.as_raw_fd().cast_unsigned(),
            pad: 0,
            key: (&raw const key).addr() as u64,
            value: (&raw const value).addr() as u64,
            flags: 0,
        };
        #[expect(unsafe_code, reason = "aya's maps of maps come from an object alone")]
        // SAFETY: the attributes are those of a map command; key and value point to a u32 and a
        // descriptor, the sizes with which `create` made the map, and outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_UPDATE_ELEM,
                &raw const attributes,
                size_of::<MapElement>(),
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// A map with one entry of four bytes.
fn create(map_type: u32, inner_map_fd: u32) -> io::Result<OwnedFd> {
    let attributes =
        NewMap { map_type, key_size: 4, value_size: 4, max_entries: 1, map_flags: 0, inner_map_fd };
    #[expect(unsafe_code, reason = "aya's maps of maps come from an object alone")]
    // SAFETY: the attributes are those of the command and outlive the call; a non-negative result is
    // a descriptor that has no other owner.
    unsafe {
        let size = size_of::<NewMap>();
        let fd = libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, &raw const attributes, size);
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
