// SPDX-License-Identifier: Apache-2.0
//! Files of a container by their size, mount by mount.
//!
//! Made once and then kept: a search asks each directory whether it is still as it was, and lists
//! anew only those that changed. A file that was written in place keeps the size that it had when
//! its directory was listed.

use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Dir, FileType},
    io::Errno,
    time::{ClockId, clock_gettime},
};

use super::beneath::{Stamp, directory, size_of_file};

/// Files that are indexed of one container: twice as many as a large image with packages of Node.js
/// has; some 50 bytes each.
pub(super) const MAX_FILES: usize = 200_000;

/// All mounts of a container, by where they are.
#[derive(Debug, Default)]
pub(super) struct Trees(HashMap<String, Tree>);

/// Directories of one mount, by their path in it.
#[derive(Debug, Default)]
struct Tree(HashMap<Box<[u8]>, Listing>);

/// A directory's entries.
#[derive(Debug)]
struct Listing {
    /// None if it may change without a new stamp.
    stamp: Option<Stamp>,
    files: Box<[(u64, Box<[u8]>)]>,
    directories: Box<[Box<[u8]>]>,
}

/// A walk through one mount.
pub(super) struct Walk<'a> {
    /// Root of the mount.
    pub(super) mount: &'a OwnedFd,
    /// Whether times of this file system are those of this kernel.
    pub(super) keeps_time: bool,
    /// Whether anybody still waits for it.
    pub(super) goes_on: &'a dyn Fn() -> bool,
}

/// What a walk could not look at.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error("it has more than {MAX_FILES} files")]
    TooMany,
    #[error("`{path}` cannot be listed: {errno}")]
    Directory { path: String, errno: Errno },
    #[error("nobody waits for it any more")]
    Ended,
}

// === impl Trees ===

impl Trees {
    /// Forgets mounts that are not there any more.
    pub(super) fn retain(&mut self, points: &[&str]) {
        self.0.retain(|point, _| points.contains(&point.as_str()));
    }

    /// Brings the index of one mount up to date and yields the paths in it of files of these sizes.
    /// What could not be listed is told beside them.
    pub(super) fn find(
        &mut self,
        point: &str,
        walk: &Walk<'_>,
        is_wanted: impl Fn(u64) -> bool,
    ) -> (Vec<Vec<u8>>, Vec<WalkError>) {
        let tree = self.0.entry(point.to_owned()).or_default();
        let errors = tree.renew(walk);
        (tree.files_of(is_wanted), errors)
    }
}

// === impl Tree ===

impl Tree {
    fn renew(&mut self, walk: &Walk<'_>) -> Vec<WalkError> {
        let (mut pending, mut files) = (vec![Box::<[u8]>::default()], 0);
        let (mut renewed, mut errors) = (HashMap::new(), Vec::new());
        while let Some(path) = pending.pop() {
            if !(walk.goes_on)() {
                errors.push(WalkError::Ended);
                break;
            }
            let known = self.0.remove(&path);
            let listing = match Listing::renew(known, walk, &path) {
                Ok(listing) => listing,
                Err(errno) if is_elsewhere(errno) => continue,
                Err(errno) => {
                    let path = String::from_utf8_lossy(&path).into_owned();
                    errors.push(WalkError::Directory { path, errno });
                    continue;
                }
            };
            files += listing.files.len();
            if files > MAX_FILES {
                errors.push(WalkError::TooMany);
                break;
            }
            pending.extend(listing.directories.iter().map(|name| join(&path, name).into()));
            renewed.insert(path, listing);
        }
        self.0 = renewed;
        errors
    }

    fn files_of(&self, is_wanted: impl Fn(u64) -> bool) -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = self
            .0
            .iter()
            .flat_map(|(path, listing)| listing.files.iter().map(move |file| (path, file)))
            .filter(|(_, (size, _))| is_wanted(*size))
            .map(|(path, (_, name))| join(path, name))
            .collect();
        paths.sort_unstable();
        paths
    }
}

// === impl Listing ===

impl Listing {
    fn renew(known: Option<Self>, walk: &Walk<'_>, path: &[u8]) -> Result<Self, Errno> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let (fd, facts) = directory(walk.mount, path)?;
        match known {
            Some(known) if known.stamp == Some(facts.stamp) => Ok(known),
            _ => {
                let now = clock_gettime(ClockId::Realtime);
                let now = (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default());
                let keeps = walk.keeps_time && facts.stamp.is_settled(now);
                Self::read(fd, keeps.then_some(facts.stamp))
            }
        }
    }

    fn read(fd: OwnedFd, stamp: Option<Stamp>) -> Result<Self, Errno> {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            match entry.file_type() {
                _ if name == b"." || name == b".." => {}
                FileType::Directory => directories.push(name.into()),
                FileType::RegularFile | FileType::Unknown => match size_of(&fd, name)? {
                    Some(size) => files.push((size, name.into())),
                    None if entry.file_type() == FileType::Unknown => directories.push(name.into()),
                    None => {}
                },
                _ => {}
            }
        }
        Ok(Self { stamp, files: files.into(), directories: directories.into() })
    }
}

/// None also if it is gone meanwhile, and of an empty file: every empty file has its content.
fn size_of(directory: impl AsFd, name: &[u8]) -> Result<Option<u64>, Errno> {
    match size_of_file(directory, name) {
        Ok(size) => Ok(size.filter(|size| *size > 0)),
        Err(errno) if is_elsewhere(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Gone, replaced by something else, or covered by another mount, which is walked by itself.
pub(super) fn is_elsewhere(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
