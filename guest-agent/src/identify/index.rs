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

/// Files that are indexed of one mount: twice as many as a large image with packages of Node.js has;
/// some 50 bytes each.
pub(super) const MAX_FILES: usize = 200_000;

/// What the index of one container takes: [`MAX_FILES`] files with 60 bytes each, and a directory for
/// every six of them with 120. A container can make directories with paths of 4 KiB, and a pod has tens
/// of containers.
pub(super) const MAX_INDEX_BYTES: usize = 16 * 1024 * 1024;

/// Of a name that is kept: the allocation, and a place in a list or table.
const BYTES_OF_ENTRY: usize = 48;

/// Complaints about one mount that are told one by one.
const MAX_ERRORS: usize = 16;

/// All mounts of a container, by where they are.
#[derive(Debug, Default)]
pub(super) struct Trees(HashMap<String, Tree>);

/// Directories of one mount, by their path in it.
#[derive(Debug, Default)]
struct Tree {
    listings: HashMap<Box<[u8]>, Listing>,
    /// What they take.
    bytes: usize,
}

/// What may still be kept.
struct Room {
    bytes: usize,
    files: usize,
}

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
    /// Whether files of this size are looked for.
    pub(super) is_wanted: &'a dyn Fn(u64) -> bool,
}

/// What a walk could not look at.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error("it has more than {MAX_FILES} files")]
    TooMany,
    #[error("names of files and directories take more than {MAX_INDEX_BYTES} bytes")]
    TooLong,
    #[error("{0} more complaints")]
    More(usize),
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

    /// Brings the index of one mount up to date and visits the paths in it of files that are wanted,
    /// in order. Returns what could not be listed.
    pub(super) fn find(
        &mut self,
        point: &str,
        walk: &Walk<'_>,
        visit: impl FnMut(&[u8]),
    ) -> Vec<WalkError> {
        let others = self.0.iter().filter(|(known, _)| known.as_str() != point);
        let taken: usize = others.map(|(_, tree)| tree.bytes).sum();
        let tree = self.0.entry(point.to_owned()).or_default();
        let errors = tree.renew(walk, MAX_INDEX_BYTES.saturating_sub(taken));
        tree.visit(walk.is_wanted, visit);
        errors
    }
}

// === impl Tree ===

impl Tree {
    fn renew(&mut self, walk: &Walk<'_>, bytes: usize) -> Vec<WalkError> {
        let mut room = Room { bytes, files: MAX_FILES };
        let mut pending = vec![Box::<[u8]>::default()];
        let (mut renewed, mut errors) = (HashMap::new(), Vec::new());
        while let Some(path) = pending.pop() {
            if !(walk.goes_on)() {
                errors.push(WalkError::Ended);
                break;
            }
            let known = self.listings.remove(&path);
            match Listing::renew(known, walk, &path, &mut room) {
                Ok(listing) => {
                    pending.extend(listing.directories.iter().map(|name| join(&path, name).into()));
                    renewed.insert(path, listing);
                }
                Err(ListError::Errno(errno)) if is_elsewhere(errno) => {}
                Err(ListError::Errno(errno)) => {
                    let path = String::from_utf8_lossy(&path).into_owned();
                    errors.push(WalkError::Directory { path, errno });
                }
                Err(ListError::NoRoom(error)) => {
                    errors.push(error);
                    break;
                }
            }
            summarize(&mut errors);
        }
        *self = Self { listings: renewed, bytes: bytes - room.bytes };
        errors
    }

    fn visit(&self, is_wanted: impl Fn(u64) -> bool, mut visit: impl FnMut(&[u8])) {
        let mut directories: Vec<_> = self.listings.iter().collect();
        directories.sort_unstable_by_key(|(path, _)| *path);
        for (path, listing) in directories {
            // One path at a time: a container may have as many of one size as it likes.
            let wanted = listing.files.iter().filter(|(size, _)| is_wanted(*size));
            wanted.for_each(|(_, name)| visit(&join(path, name)));
        }
    }
}

/// Keeps the first complaints, and a number for the rest.
fn summarize(errors: &mut Vec<WalkError>) {
    if errors.len() > MAX_ERRORS + 1 {
        errors.pop();
        if let Some(WalkError::More(more)) = errors.get_mut(MAX_ERRORS) {
            *more += 1;
        }
    } else if errors.len() > MAX_ERRORS {
        errors.pop();
        errors.push(WalkError::More(1));
    }
}

// === impl Room ===

impl Room {
    /// Takes room for a name.
    fn take(&mut self, name: usize, is_file: bool) -> Result<(), WalkError> {
        self.bytes = self.bytes.checked_sub(name + BYTES_OF_ENTRY).ok_or(WalkError::TooLong)?;
        self.files = self.files.checked_sub(is_file.into()).ok_or(WalkError::TooMany)?;
        Ok(())
    }

    /// Takes room for all of a directory that is kept, whose paths below are still to be listed.
    fn take_all(&mut self, path: &[u8], listing: &Listing) -> Result<(), WalkError> {
        for (_, name) in &listing.files {
            self.take(name.len(), true)?;
        }
        for name in &listing.directories {
            self.take_directory(path, name)?;
        }
        Ok(())
    }

    /// Its name here, and its path as the key of its own listing.
    fn take_directory(&mut self, path: &[u8], name: &[u8]) -> Result<(), WalkError> {
        self.take(name.len(), false)?;
        self.take(path.len() + 1 + name.len(), false)
    }
}

/// Why a directory is not listed.
enum ListError {
    Errno(Errno),
    NoRoom(WalkError),
}

impl From<Errno> for ListError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<WalkError> for ListError {
    fn from(error: WalkError) -> Self {
        Self::NoRoom(error)
    }
}

// === impl Listing ===

impl Listing {
    fn renew(
        known: Option<Self>,
        walk: &Walk<'_>,
        path: &[u8],
        room: &mut Room,
    ) -> Result<Self, ListError> {
        let place = if path.is_empty() { b".".as_slice() } else { path };
        let (fd, facts) = directory(walk.mount, place)?;
        match known {
            Some(known) if known.stamp == Some(facts.stamp) => {
                room.take_all(path, &known)?;
                Ok(known)
            }
            _ => {
                let now = clock_gettime(ClockId::Realtime);
                let now = (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default());
                let keeps = walk.keeps_time && facts.stamp.is_settled(now);
                Self::read(fd, keeps.then_some(facts.stamp), path, room)
            }
        }
    }

    fn read(
        fd: OwnedFd,
        stamp: Option<Stamp>,
        path: &[u8],
        room: &mut Room,
    ) -> Result<Self, ListError> {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let (size, may_be_directory) = match entry.file_type() {
                _ if name == b"." || name == b".." => (None, false),
                FileType::Directory => (None, true),
                FileType::RegularFile => (size_of(&fd, name)?, false),
                FileType::Unknown => (size_of(&fd, name)?, true),
                _ => (None, false),
            };
            if let Some(size) = size {
                room.take(name.len(), true)?;
                files.push((size, Box::<[u8]>::from(name)));
            } else if may_be_directory {
                room.take_directory(path, name)?;
                directories.push(Box::<[u8]>::from(name));
            }
        }
        files.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rustix::fs::{CWD, Mode, OFlags, openat};

    use super::*;

    fn walked(trees: &mut Trees, point: &str, place: &Path) -> (Vec<Vec<u8>>, Vec<String>) {
        let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mount = openat(CWD, place, how, Mode::empty()).unwrap();
        let walk =
            Walk { mount: &mount, keeps_time: true, goes_on: &|| true, is_wanted: &|_| true };
        let mut paths = Vec::new();
        let errors = trees.find(point, &walk, |path| paths.push(path.to_vec()));
        (paths, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn directories_and_long_names_of_a_container_have_a_bound_over_all_its_mounts() {
        let place = tempfile::tempdir().unwrap();
        // 200 directories beside each other in one whose path has 3 KiB: a MiB and a quarter.
        let deep: String = (0..12).map(|level| format!("{level}-{}/", "x".repeat(250))).collect();
        for number in 0..200 {
            fs::create_dir_all(place.path().join(format!("{deep}{number:0>200}"))).unwrap();
        }
        fs::write(place.path().join("first"), "x").unwrap();
        let mut trees = Trees::default();
        let (paths, errors) = walked(&mut trees, "/one", place.path());
        assert_eq!((paths.len(), errors.len()), (1, 0), "{errors:?}");
        let bytes = trees.0["/one"].bytes;
        assert!((600_000..1_000_000).contains(&bytes), "{bytes}");
        for number in 0..MAX_INDEX_BYTES / bytes - 1 {
            let (_, errors) = walked(&mut trees, &format!("/{number}"), place.path());
            assert!(errors.is_empty(), "{number}: {errors:?}");
        }
        let (_, errors) = walked(&mut trees, "/last", place.path());
        assert!(errors[0].contains("take more than"), "{errors:?}");
        let kept: usize = trees.0.values().map(|tree| tree.bytes).sum();
        assert!(kept <= MAX_INDEX_BYTES);
        // What is known is counted as what is new, and makes room when it is gone.
        assert!(walked(&mut trees, "/one", place.path()).1.is_empty());
        trees.retain(&["/one"]);
        assert!(walked(&mut trees, "/last", place.path()).1.is_empty());
    }

    #[test]
    fn complaints_have_a_bound() {
        let mut errors = Vec::new();
        for number in 0..100 {
            errors.push(WalkError::Directory { path: number.to_string(), errno: Errno::ACCESS });
            summarize(&mut errors);
        }
        assert_eq!(errors.len(), MAX_ERRORS + 1);
        assert_eq!(errors[MAX_ERRORS].to_string(), "84 more complaints");
    }
}
