// SPDX-License-Identifier: Apache-2.0
//! Kernel file systems that the agent needs, mounted where the guest's init did not.
//!
//! Checks that the agent shares PID 1's mount namespace: a bpffs in a namespace of its own would
//! take the pins with it when the agent dies, and enforcement with them. Never mounts over
//! something.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, mount};

/// Magic numbers of statfs(2), from include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
const SECURITYFS_MAGIC: i64 = 0x7363_6673;

/// Where every guest has its bpffs.
const BPF_FS: &str = "/sys/fs/bpf";

/// A kernel file system and its usual place.
struct Needed {
    fs_type: &'static str,
    magic: i64,
    point: &'static str,
    data: &'static std::ffi::CStr,
}

const NEEDED: [Needed; 2] = [
    Needed { fs_type: "bpf", magic: BPF_FS_MAGIC, point: BPF_FS, data: c"mode=0700" },
    Needed {
        fs_type: "securityfs",
        magic: SECURITYFS_MAGIC,
        point: "/sys/kernel/security",
        data: c"",
    },
];

/// Why the guest's file systems cannot carry enforcement.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A namespace of the agent's own.
    #[error("the agent has a mount namespace of its own: its pins would die with it")]
    PrivateNamespace,
    /// A namespace cannot be read.
    #[error("reading `{path}`: {source}")]
    Namespace {
        /// What was read.
        path: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("mounting {fs_type} at {point}: {source}")]
    Mount {
        /// Name of the type.
        fs_type: &'static str,
        /// Where.
        point: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Pins elsewhere would not be pins.
    #[error("`{0}` does not lie in a bpffs")]
    NotInBpffs(PathBuf),
}

/// Mounts what is missing and checks that `pins` will lie in the guest's own bpffs.
///
/// # Errors
/// If the agent is not in PID 1's mount namespace, or a mount fails.
pub fn prepare(pins: &Path) -> Result<(), MountError> {
    check_namespace()?;
    let parent = pins.parent().unwrap_or(pins);
    if !parent.starts_with(BPF_FS) && magic_of(parent) != Some(BPF_FS_MAGIC) {
        return Err(MountError::NotInBpffs(pins.to_owned()));
    }
    NEEDED.iter().try_for_each(Needed::mount)
}

fn check_namespace() -> Result<(), MountError> {
    let namespace = |path| {
        let metadata = fs::metadata(path);
        metadata.map(|found| found.ino()).map_err(|source| MountError::Namespace { path, source })
    };
    if namespace("/proc/self/ns/mnt")? == namespace("/proc/1/ns/mnt")? {
        Ok(())
    } else {
        Err(MountError::PrivateNamespace)
    }
}

// === impl Needed ===

impl Needed {
    fn mount(&self) -> Result<(), MountError> {
        let Self { fs_type, magic, point, data } = *self;
        if magic_of(Path::new(point)) == Some(magic) {
            return Ok(());
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(fs_type, point, fs_type, flags, data).map_err(|errno| MountError::Mount {
            fs_type,
            point,
            source: errno.into(),
        })?;
        tracing::info!(fs_type, point, "mounted");
        Ok(())
    }
}

fn magic_of(path: &Path) -> Option<i64> {
    Some(rustix::fs::statfs(path).ok()?.f_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_its_file_systems_apart() {
        const PROC_SUPER_MAGIC: i64 = 0x9fa0;
        assert_eq!(magic_of(Path::new("/proc")), Some(PROC_SUPER_MAGIC));
        assert_eq!(magic_of(Path::new("/nonexistent")), None);
    }
}
