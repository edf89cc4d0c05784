// SPDX-License-Identifier: Apache-2.0
//! Labels of tasks, by system calls that no library of ours has.
//!
//! A label is put on one thread by a pidfd of that thread; so all threads of a process are
//! visited until a round finds none that is new.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya::maps::MapData;
use guest_bpf::abi;
use nix::libc;

use super::MapsError;

/// `pidfd_open` of a thread that leads no group; since Linux 6.9 (include/uapi/linux/pidfd.h).
const PIDFD_THREAD: libc::c_uint = libc::O_EXCL.cast_unsigned();

/// `bpf(2)` command and flag (include/uapi/linux/bpf.h).
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_ANY: u64 = 0;

/// `union bpf_attr` of the map commands.
#[repr(C)]
struct MapElement {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

pub(super) fn label(tasks: &MapData, pid: u32, label: &abi::Task) -> Result<(), MapsError> {
    let failed = |operation| move |source| MapsError::Task { operation, pid, source };
    let mut labelled = BTreeSet::new();
    loop {
        let threads = threads_of(pid).map_err(failed("listing the threads"))?;
        let fresh: Vec<_> = threads.difference(&labelled).copied().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for thread in fresh {
            match label_thread(tasks, thread, label) {
                // It ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) && thread != pid => {}
                result => result.map_err(failed("labelling"))?,
            }
            labelled.insert(thread);
        }
    }
}

fn threads_of(pid: u32) -> io::Result<BTreeSet<u32>> {
    fs::read_dir(format!("/proc/{pid}/task"))?
        .map(|entry| {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            number.ok_or_else(|| io::Error::other("a thread has no number"))
        })
        .collect()
}

fn label_thread(tasks: &MapData, thread: u32, label: &abi::Task) -> io::Result<()> {
    let pidfd = open_thread(thread)?;
    let key = pidfd.as_raw_fd();
    let attributes = MapElement {
        map_fd: tasks.fd().as_fd().as_raw_fd().cast_unsigned(),
        pad: 0,
        key: (&raw const key).addr() as u64,
        value: std::ptr::from_ref(label).addr() as u64,
        flags: BPF_ANY,
    };
    #[expect(unsafe_code, reason = "aya cannot write task storage")]
    // SAFETY: the attributes are those of a map command; key and value point to an i32 and an
    // `abi::Task`, the sizes with which the object declares the map, and outlive the call.
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

fn open_thread(thread: u32) -> io::Result<OwnedFd> {
    #[expect(unsafe_code, reason = "no library of ours has pidfd_open(2) of a thread")]
    // SAFETY: pidfd_open takes two integers; a non-negative result is a descriptor that nobody
    // else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, thread, PIDFD_THREAD);
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
