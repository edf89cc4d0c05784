// SPDX-License-Identifier: Apache-2.0
//! The cgroup of a container in the unified hierarchy, by the id that the kernel's programs see.
//!
//! The id is the inode of the cgroup's directory. Paths of /proc/PID/cgroup flow in; nothing is
//! created, moved or written.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::mountinfo::{self, InvalidMountInfo};

/// Why a cgroup has no id.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The agent's own mounts cannot be read.
    #[error("the agent's mounts: {0}")]
    Mounts(#[from] InvalidMountInfo),
    /// The kernel refused.
    #[error("`{path}`: {source}")]
    Read {
        /// What was read.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no unified hierarchy.
    #[error("no cgroup2 file system is mounted: boot with systemd.unified_cgroup_hierarchy=1")]
    NoUnified,
    /// The path climbs.
    #[error("`{0}` is no path of a cgroup")]
    Path(String),
}

/// A cgroup that is not the root of the hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Id that the kernel's programs see.
    pub id: u64,
    /// Its directory.
    pub directory: PathBuf,
}

// === impl Cgroup ===

impl Cgroup {
    /// The cgroup at this path of the unified hierarchy; none for the root, which every task is in.
    ///
    /// # Errors
    /// If it does not exist, or there is no unified hierarchy.
    pub fn at(path: &str) -> Result<Option<Self>, CgroupError> {
        let relative = path.trim_start_matches('/');
        if relative.split('/').any(|name| name == "..") {
            return Err(CgroupError::Path(path.into()));
        }
        if relative.is_empty() {
            return Ok(None);
        }
        let directory = unified_mount()?.join(relative);
        match fs::metadata(&directory) {
            Ok(metadata) => Ok(Some(Self { id: metadata.ino(), directory })),
            Err(source) => Err(CgroupError::Read { path: directory, source }),
        }
    }

    /// Whether a process is in it or below: `cgroup.procs` does not tell of those below. A cgroup that
    /// was removed has none.
    ///
    /// # Errors
    /// If it cannot be read now.
    pub fn is_populated(&self) -> io::Result<bool> {
        match fs::read_to_string(self.directory.join("cgroup.events")) {
            Ok(text) => Ok(text.lines().any(|line| line == "populated 1")),
            Err(error) if is_removed(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether no process can be in it: what cannot be read may have some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.is_populated(), Ok(false))
    }
}

/// The unified hierarchy's line of a /proc/PID/cgroup.
#[must_use]
pub fn unified_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Its directory is gone, or goes away while it is read.
fn is_removed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

/// Where the unified hierarchy is mounted.
pub(crate) fn unified_mount() -> Result<PathBuf, CgroupError> {
    let path = Path::new("/proc/self/mountinfo");
    let text =
        fs::read(path).map_err(|source| CgroupError::Read { path: path.to_owned(), source })?;
    let mounts = mountinfo::parse(&text)?;
    let is_whole = |root: &Option<String>| root.as_deref() == Some("/");
    let mount =
        mounts.into_iter().find(|mount| mount.fs_type == "cgroup2" && is_whole(&mount.root));
    mount.map(|mount| mount.point.into()).ok_or(CgroupError::NoUnified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_layouts_have_the_unified_path_on_line_zero() {
        assert_eq!(unified_path("8:pids:/a\n0::/kubepods/c\n"), Some("/kubepods/c"));
        assert_eq!(unified_path("8:pids:/a\n"), None);
    }

    #[test]
    fn the_root_of_the_hierarchy_is_nobodys_own() {
        assert_eq!(Cgroup::at("/").unwrap(), None);
        assert!(matches!(Cgroup::at("/a/../.."), Err(CgroupError::Path(_))));
    }

    #[test]
    fn a_cgroup_without_a_directory_is_not_populated() {
        assert!(!Cgroup { id: 1, directory: "/nonexistent".into() }.is_populated().unwrap());
    }

    #[test]
    fn processes_of_a_cgroup_below_count_and_so_does_what_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let cgroup = Cgroup { id: 1, directory: directory.path().into() };
        let events = directory.path().join("cgroup.events");
        // As the kernel has it where all processes are in a cgroup below.
        fs::write(directory.path().join("cgroup.procs"), "").unwrap();
        for (text, is_populated) in [("populated 1\nfrozen 0\n", true), ("populated 0\n", false)] {
            fs::write(&events, text).unwrap();
            assert_eq!(cgroup.is_populated().unwrap(), is_populated, "{text}");
        }
        fs::remove_file(&events).unwrap();
        fs::create_dir(&events).unwrap();
        assert!(cgroup.is_populated().is_err() && !cgroup.is_empty());
    }
}
