// SPDX-License-Identifier: Apache-2.0
//! Opening what a container has, without being led out of it.
//!
//! The tree is hostile input: no link is followed, and a path never leaves the directory, or the
//! mount, that it begins in. Handles tell metadata only; reading needs a handle of a regular file.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat2, statx},
    io::Errno,
};

/// An inode among those of a guest: st_dev and st_ino.
pub type Inode = (u64, u64);

/// When an inode last changed, and which one it is: a directory whose stamp is the same has the same
/// entries, a file the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: Inode,
    size: u64,
    changed: (i64, u32),
    modified: (i64, u32),
}

/// What there is to know of an opened inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) inode: Inode,
    pub(super) size: u64,
    pub(super) names: u64,
    pub(super) kind: FileType,
    /// Some user may execute it.
    pub(super) executable: bool,
    pub(super) stamp: Stamp,
}

/// How far a path may lead.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach {
    /// Through all mounts of the container, from its root.
    Container,
    /// In one mount.
    Mount,
}

// === impl Reach ===

impl Reach {
    fn flags(self) -> ResolveFlags {
        let never = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match self {
            Self::Container => never | ResolveFlags::IN_ROOT,
            Self::Mount => never | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV,
        }
    }
}

/// A handle of whatever has this name; of a link itself.
pub(super) fn handle(
    directory: impl AsFd,
    path: &[u8],
    reach: Reach,
) -> Result<(OwnedFd, Facts), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat2(directory, path, flags, Mode::empty(), reach.flags())?;
    let facts = facts_of(&fd)?;
    Ok((fd, facts))
}

/// A directory to be listed.
pub(super) fn directory(mount: impl AsFd, path: &[u8]) -> Result<(OwnedFd, Facts), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat2(mount, path, flags, Mode::empty(), Reach::Mount.flags())?;
    let facts = facts_of(&fd)?;
    Ok((fd, facts))
}

/// Size of a regular file of a directory; none of anything else.
pub(super) fn size_of_file(directory: impl AsFd, name: &[u8]) -> Result<Option<u64>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = statx(directory, name, flags, StatxFlags::TYPE | StatxFlags::SIZE)?;
    let is_file = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
    Ok(is_file.then_some(stat.stx_size))
}

/// Opens for reading the inode of a handle, whatever has its name by now. Waits for no lease: the
/// kernel asks the holder for it, and says `WouldBlock`.
pub(super) fn reopen(handle: &OwnedFd) -> io::Result<File> {
    open_as(handle, OFlags::NONBLOCK)
}

/// The same, and waits until the holder of a lease has given it up, or the kernel has taken it.
pub(super) fn reopen_patiently(handle: &OwnedFd) -> io::Result<File> {
    open_as(handle, OFlags::empty())
}

fn open_as(handle: &OwnedFd, how: OFlags) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | how;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

pub(super) fn facts_of(fd: impl AsFd) -> Result<Facts, Errno> {
    statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map(facts_from)
}

/// Of what has this name in a directory; of a link itself.
pub(super) fn facts_at(directory: impl AsFd, name: &CStr) -> Result<Facts, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(directory, name, flags, StatxFlags::BASIC_STATS).map(facts_from)
}

fn facts_from(stat: Statx) -> Facts {
    let stamp = stamp_of(&stat);
    Facts {
        inode: stamp.inode,
        size: stat.stx_size,
        names: stat.stx_nlink.into(),
        kind: FileType::from_raw_mode(stat.stx_mode.into()),
        executable: stat.stx_mode & 0o111 != 0,
        stamp,
    }
}

fn stamp_of(stat: &Statx) -> Stamp {
    let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
    Stamp {
        inode: (device, stat.stx_ino),
        size: stat.stx_size,
        changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
    }
}

// === impl Stamp ===

impl Stamp {
    /// Whether a change after `now` shows in the stamp. File systems tell time in ticks: what
    /// changed in the last one may change once more and look the same.
    pub(super) fn is_settled(&self, now: (i64, u32)) -> bool {
        /// Ten ticks of the slowest clock (100 Hz).
        const TICKS: i128 = 100_000_000;
        let nanoseconds =
            |(seconds, rest): (i64, u32)| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        nanoseconds(self.changed) + TICKS < nanoseconds(now)
    }
}
