// SPDX-License-Identifier: Apache-2.0
//! Ways to another name or a nameless handle of the same inode.
#![expect(unsafe_code, reason = "no crate in use wraps file handles")]

use std::ffi::{CString, c_int};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::libc;
use rustix::fs::{AtFlags, CWD, linkat};

use crate::ring::{self, Operation};
use crate::scene::{Scene, beside};
use crate::steps::{self, Gone, create, mkdir, open_path, run, run_at};
use crate::trace::{Cause, Trace};
use crate::undo::Undo;

/// Most bytes of a handle.
const MAX_HANDLE: usize = 128;

/// `struct file_handle` with its bytes.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: c_int,
    handle: [u8; MAX_HANDLE],
}

pub(super) fn direct(scene: &Scene, trace: &Trace) -> Gone {
    run(trace, scene.target())
}

pub(super) fn rename_file(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    steps::rename(trace, scene.target(), &x)?;
    run(trace, &x)
}

pub(super) fn link(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    trace.step("link", || fs::hard_link(scene.target(), &x))?;
    run(trace, &x)
}

pub(super) fn symlink(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    trace.step("symlink", || std::os::unix::fs::symlink(scene.target(), &x))?;
    run(trace, &x)
}

pub(super) fn rename_parent(scene: &Scene, trace: &Trace) -> Gone {
    let moved = beside(scene.target_directory(), "2");
    steps::rename(trace, scene.target_directory(), &moved)?;
    run(trace, &moved.join(scene.target_name()))
}

pub(super) fn rename_grandparent(scene: &Scene, trace: &Trace) -> Gone {
    let moved = beside(scene.above_target(), "2");
    steps::rename(trace, scene.above_target(), &moved)?;
    let below = scene.target().strip_prefix(scene.above_target());
    run(trace, &moved.join(below.expect("T is below the directory above it")))
}

pub(super) fn exchange_file(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    create(trace, &x)?;
    steps::exchange(trace, &x, scene.target())?;
    run(trace, &x)
}

pub(super) fn exchange_directory(scene: &Scene, trace: &Trace) -> Gone {
    let directory = mkdir(trace, scene, "d")?;
    steps::exchange(trace, &directory, scene.target_directory())?;
    run(trace, &directory.join(scene.target_name()))
}

pub(super) fn link_descriptor(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    let target = open_path(trace, scene.target())?;
    let name = format!("/proc/self/fd/{}", target.as_raw_fd());
    trace.step("linkat", || linkat(CWD, &name, CWD, &x, AtFlags::SYMLINK_FOLLOW))?;
    run(trace, &x)
}

pub(super) fn proc_root(scene: &Scene, trace: &Trace) -> Gone {
    let below = scene.target().strip_prefix("/").unwrap_or(scene.target());
    run(trace, &Path::new("/proc/self/root").join(below))
}

pub(super) fn execute_descriptor(scene: &Scene, trace: &Trace) -> Gone {
    let target = open_path(trace, scene.target())?;
    run_at(trace, &target, Path::new(""))
}

pub(super) fn shipped_link(scene: &Scene, trace: &Trace) -> Gone {
    run(trace, &scene.image.alias)
}

pub(super) fn ring_rename(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    by_ring(trace, Operation::Rename, (scene.target(), &x))?;
    trace.undo(Undo::Rename(x.clone(), scene.target().into()));
    run(trace, &x)
}

pub(super) fn ring_link(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    by_ring(trace, Operation::Link, (scene.target(), &x))?;
    run(trace, &x)
}

fn by_ring(trace: &Trace, operation: Operation, (from, to): (&Path, &Path)) -> Gone {
    let [from, to] = [from, to].map(text);
    let (from, to) = (from?, to?);
    let name = format!("io_uring {operation:?}").to_lowercase();
    trace.step(&name, || ring::perform(operation, &from, &to))
}

pub(super) fn handle(scene: &Scene, trace: &Trace) -> Gone {
    let handle = trace.step("name_to_handle_at", || handle_of(scene.target()))?;
    let mount = trace.step("open the root", || File::open("/"))?;
    let target = trace.step("open_by_handle_at", || open_handle(&mount, &handle))?;
    run_at(trace, &target, Path::new(""))
}

fn handle_of(path: &Path) -> io::Result<Handle> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut handle = Handle { bytes: MAX_HANDLE as u32, kind: 0, handle: [0; MAX_HANDLE] };
    let mut mount = 0;
    let pointer = (&raw mut handle).cast::<libc::file_handle>();
    // SAFETY: the path ends with a zero; the handle has the layout of the kernel's structure and as
    // many bytes behind it as it says.
    let done = unsafe {
        libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), pointer, &raw mut mount, 0)
    };
    if done == 0 { Ok(handle) } else { Err(io::Error::last_os_error()) }
}

fn open_handle(mount: &File, handle: &Handle) -> io::Result<OwnedFd> {
    // The kernel only reads it.
    let pointer = (&raw const *handle).cast::<libc::file_handle>().cast_mut();
    // SAFETY: the handle is one that the kernel has filled.
    let fd = unsafe {
        libc::open_by_handle_at(mount.as_raw_fd(), pointer, libc::O_PATH | libc::O_CLOEXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn text(path: &Path) -> Result<CString, Cause> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| Cause::Other(error.to_string()))
}
