// SPDX-License-Identifier: Apache-2.0
//! One operation on two paths by an io_uring of its own, which a thread of the kernel carries out
//! on behalf of this process.
#![expect(unsafe_code, reason = "rings are memory shared with the kernel")]

use std::ffi::{CStr, c_void};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io_uring::{
    IORING_OFF_CQ_RING, IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringEnterFlags, IoringOp,
    io_uring_cqe, io_uring_enter, io_uring_params, io_uring_ptr, io_uring_setup, io_uring_sqe,
};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// More than the one that is used, so that each of the three maps is within its page.
const ENTRIES: u32 = 4;

/// Holds each of the rings and the array of submissions.
const PAGE: usize = 4096;

/// What is done with two paths.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// Rename the first to the second.
    Rename,
    /// Make the second a link to the first.
    Link,
}

/// The three maps of a ring.
struct Ring {
    fd: OwnedFd,
    params: io_uring_params,
    submissions: *mut u8,
    completions: *mut u8,
    entries: *mut io_uring_sqe,
}

/// Carries out one operation and returns what became of it.
///
/// # Errors
/// Also if the kernel has no rings.
pub(crate) fn perform(operation: Operation, from: &CStr, to: &CStr) -> io::Result<()> {
    let ring = Ring::new()?;
    ring.submit(operation, from, to);
    // SAFETY: one submission is ready, and the paths that it points to live until it is completed.
    unsafe { io_uring_enter(ring.fd.as_fd(), 1, 1, IoringEnterFlags::GETEVENTS) }?;
    match ring.result() {
        0.. => Ok(()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// A ring, and how far into it its entries lie: they are memory of this process's.
pub(crate) fn entries() -> io::Result<(OwnedFd, u64)> {
    // SAFETY: no flags are set, so that the kernel only writes into the parameters.
    let fd = unsafe { io_uring_setup(ENTRIES, &mut io_uring_params::default()) }?;
    Ok((fd, IORING_OFF_SQES))
}

// === impl Ring ===

impl Ring {
    fn new() -> io::Result<Self> {
        let mut params = io_uring_params::default();
        // SAFETY: no flags are set, so that the kernel only writes into the parameters.
        let fd = unsafe { io_uring_setup(ENTRIES, &mut params) }?;
        let [submissions, completions, entries] =
            [IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES].map(|at| map(&fd, at));
        Ok(Self {
            submissions: submissions?.cast(),
            completions: completions?.cast(),
            entries: entries?.cast(),
            fd,
            params,
        })
    }

    /// Puts the one submission into the ring.
    fn submit(&self, operation: Operation, from: &CStr, to: &CStr) {
        // The fields are named after the operations that came first: here the two directories
        // and the two paths.
        let mut entry = io_uring_sqe {
            opcode: match operation {
                Operation::Rename => IoringOp::Renameat,
                Operation::Link => IoringOp::Linkat,
            },
            fd: nix::libc::AT_FDCWD,
            ..io_uring_sqe::default()
        };
        entry.len.len = nix::libc::AT_FDCWD.cast_unsigned();
        entry.addr_or_splice_off_in.addr = io_uring_ptr::from(from.as_ptr().cast_mut().cast());
        entry.off_or_addr2.addr2 = io_uring_ptr::from(to.as_ptr().cast_mut().cast());
        let offsets = &self.params.sq_off;
        // SAFETY: the kernel gave the offsets of words within these maps; the ring is new, so that
        // its first entry and the first place of its array are free.
        unsafe {
            self.entries.write(entry);
            self.submissions.add(offsets.array as usize).cast::<u32>().write(0);
            let tail = self.submissions.add(offsets.tail as usize).cast::<u32>();
            AtomicU32::from_ptr(tail).store(1, Ordering::Release);
        }
    }

    /// Of the one completion.
    fn result(&self) -> i32 {
        let offsets = &self.params.cq_off;
        // SAFETY: as in `submit`; the kernel has been waited for, so the first completion is there.
        unsafe {
            let tail = self.completions.add(offsets.tail as usize).cast::<u32>();
            if AtomicU32::from_ptr(tail).load(Ordering::Acquire) == 0 {
                return -nix::libc::EIO;
            }
            (*self.completions.add(offsets.cqes as usize).cast::<io_uring_cqe>()).res
        }
    }
}

fn map(ring: &OwnedFd, offset: u64) -> io::Result<*mut c_void> {
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the place, so that no memory in use is replaced.
    Ok(unsafe { mmap(ptr::null_mut(), PAGE, prot, MapFlags::SHARED, ring, offset) }?)
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn text(path: &Path) -> CString {
        CString::new(path.to_str().unwrap()).unwrap()
    }

    #[test]
    fn a_ring_renames_links_and_says_why_not() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| root.path().join(name));
        fs::write(&a, "text").unwrap();
        match perform(Operation::Rename, &text(&a), &text(&b)) {
            // The guest suite has a kernel of its own.
            Err(error) if matches!(error.raw_os_error(), Some(1 | 38)) => {
                let name = "ring::tests::a_ring_renames_links_and_says_why_not";
                let _ = writeln!(io::stderr(), "skipped: {name}: this host forbids io_uring");
                return;
            }
            done => done.unwrap(),
        }
        assert!(!a.exists() && b.exists());
        perform(Operation::Link, &text(&b), &text(&c)).unwrap();
        assert_eq!(fs::read(&c).unwrap(), b"text");
        let error = perform(Operation::Rename, &text(&a), &text(&c)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
