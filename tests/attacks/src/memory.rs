// SPDX-License-Identifier: Apache-2.0
//! Code in memory: maps, protections, jumps. All that is unsafe about running bytes is here.
//!
//! A map usually ends with the process, which jumps into it.
#![expect(unsafe_code, reason = "running bytes as code is what is shown here")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

use crate::elf::ENTRY;
use crate::trace::{Cause, Trace};

/// One page holds any of our programs.
const PAGE: usize = 4096;

/// A page of memory of this process.
#[derive(Debug)]
pub(crate) struct Map(*mut c_void);

std::arch::global_asm!(
    ".pushsection .text.attack_landing, \"ax\", @progbits",
    ".balign 4096",
    ".global attack_landing",
    "attack_landing:",
    ".skip 4096, 0xcc",
    ".popsection",
);

unsafe extern "C" {
    /// A page of the own text, of breakpoints, for others to be written over.
    fn attack_landing();
}

// === impl Map ===

impl Map {
    /// Maps the begin of a file, privately.
    pub(crate) fn file(trace: &Trace, file: impl AsFd, prot: ProtFlags) -> Result<Self, Cause> {
        let name = format!("mmap (private, {})", letters(prot));
        // SAFETY: the kernel chooses the place, so that no memory in use is replaced.
        let map = || unsafe { mmap(ptr::null_mut(), PAGE, prot, MapFlags::PRIVATE, file, 0) };
        trace.step(&name, map).map(Self)
    }

    /// Maps the begin of a file, shared, for writing.
    pub(crate) fn shared(trace: &Trace, file: &File) -> Result<Self, Cause> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as in `file`.
        let map = || unsafe { mmap(ptr::null_mut(), PAGE, prot, MapFlags::SHARED, file, 0) };
        trace.step("mmap (shared, rw)", map).map(Self)
    }

    /// Maps memory without a file, for writing.
    pub(crate) fn anonymous(trace: &Trace) -> Result<Self, Cause> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as in `file`.
        let map = || unsafe { mmap_anonymous(ptr::null_mut(), PAGE, prot, MapFlags::PRIVATE) };
        trace.step("mmap (anonymous, rw)", map).map(Self)
    }

    /// Maps memory of no file, or of one at an offset, readable, writable and executable at once.
    pub(crate) fn at_once(
        trace: &Trace,
        flags: MapFlags,
        file: Option<(BorrowedFd<'_>, u64)>,
    ) -> Result<Self, Cause> {
        let prot = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
        // SAFETY: as in `file`.
        let map = || unsafe {
            match file {
                Some((file, offset)) => mmap(ptr::null_mut(), PAGE, prot, flags, file, offset),
                None => mmap_anonymous(ptr::null_mut(), PAGE, prot, flags),
            }
        };
        trace.step("mmap (rwx)", map).map(Self)
    }

    /// Attaches a segment of System V, executable.
    pub(crate) fn segment(trace: &Trace) -> Result<Self, Cause> {
        let create = libc::IPC_CREAT | 0o700;
        let id = trace.step("shmget", || {
            // SAFETY: a new segment, which concerns no memory yet.
            Errno::result(unsafe { libc::shmget(libc::IPC_PRIVATE, PAGE, create) })
        })?;
        let at = trace.step("shmat (rwx)", || {
            // SAFETY: the kernel chooses the place.
            let at = unsafe { libc::shmat(id, ptr::null(), libc::SHM_EXEC) };
            if at.addr() == usize::MAX { Err(Errno::last()) } else { Ok(at) }
        });
        // SAFETY: it goes with the last map of it.
        unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
        at.map(Self)
    }

    /// A page of new heap.
    pub(crate) fn heap(trace: &Trace) -> Result<Self, Cause> {
        // SAFETY: memory that this takes is asked for by this call alone, and never given back.
        let end = trace.step("brk", || match unsafe { libc::sbrk(2 * PAGE as isize) } {
            end if end.addr() == usize::MAX => Err(Errno::last()),
            end => Ok(end),
        })?;
        // SAFETY: two pages hold a whole one.
        Ok(Self(unsafe { end.byte_add(end.align_offset(PAGE)) }))
    }

    /// Puts bytes at its begin. It must be a writable one.
    pub(crate) fn store(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(PAGE);
        // SAFETY: the page is ours alone and, by the caller, writable; no more than it is written.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.cast(), count) };
    }

    /// Gives it back.
    pub(crate) fn unmap(self) -> io::Result<()> {
        // SAFETY: the page is of this map, which nobody has any more.
        Ok(unsafe { munmap(self.0, PAGE) }?)
    }

    /// Makes it readable and executable.
    pub(crate) fn make_executable(&self, trace: &Trace) -> Result<(), Cause> {
        let flags = MprotectFlags::READ | MprotectFlags::EXEC;
        // SAFETY: the page is of this map, and nothing of Rust's lies in it.
        trace.step("mprotect (rx)", || unsafe { mprotect(self.0, PAGE, flags) })
    }

    /// Jumps to the entry of the program in it, which ends this process.
    pub(crate) fn jump(&self, trace: &Trace) -> Result<(), Cause> {
        trace.announce("jump");
        // SAFETY: the page begins with one of our programs, whose code at this place needs no
        // stack, depends on no register, and ends the process; a page that is not executable ends
        // it too.
        unsafe {
            let entry: extern "C" fn() -> ! = mem::transmute(self.0.byte_add(ENTRY));
            entry()
        }
    }
}

/// Lets all that this process maps readable be executable too.
pub(crate) fn imply_execution(trace: &Trace) -> Result<(), Cause> {
    trace.step("personality (read implies exec)", || {
        // SAFETY: it changes what later maps are, and no memory.
        Errno::result(unsafe { libc::personality(libc::READ_IMPLIES_EXEC as libc::c_ulong) })
            .map(drop)
    })
}

/// Address of the page of the own text that may be overwritten.
pub(crate) fn landing() -> u64 {
    attack_landing as *const () as u64
}

/// Calls what was written there.
pub(crate) fn call_landing(trace: &Trace) {
    trace.announce("call the overwritten text");
    // SAFETY: the page holds breakpoints, which end this process, or the target's code, which
    // needs no stack and ends it too.
    unsafe { attack_landing() }
}

fn letters(prot: ProtFlags) -> String {
    let letter = |flag, letter| if prot.contains(flag) { letter } else { "" };
    [letter(ProtFlags::READ, "r"), letter(ProtFlags::WRITE, "w"), letter(ProtFlags::EXEC, "x")]
        .concat()
}
