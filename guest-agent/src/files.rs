// SPDX-License-Identifier: Apache-2.0
//! What a container has under names that the relay asks for.
//!
//! Names flow in, entries flow out, and a name that does not exist yields none. The tree is hostile
//! input: every name is looked up below the container's root one component at a time, no link is
//! ever followed, and nothing is opened for more than its metadata, so that neither the guest's
//! files nor a device or FIFO can be reached. All of it blocks.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    vec,
};

use policy_model::{InvalidPath, RulePath, limits::MAX_PATH_BYTES};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, openat2, readlinkat, statx},
    io::Errno,
};

/// Names of one request. A purpose has some twenty names and a policy some hundred paths: this is
/// room for a few dozen policies at once, and at six directories for a program a bound on the work
/// of one request (24,576 look-ups, each of a path that a rule may have).
pub const MAX_NAMES: usize = 4096;

/// Where a program without a path is looked for: the PATH of images that set none.
pub const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Paths to look for, of the names of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths(Vec<RulePath>);

/// Why names cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNames {
    /// More than a request may have.
    #[error("the request has {0} names; it may have {MAX_NAMES}")]
    TooMany(usize),
    /// Neither a path nor the name of a program.
    #[error("names[{at}]: {source}")]
    Path {
        /// Which name.
        at: usize,
        /// What is wrong with it, or with the paths that it stands for.
        source: InvalidPath,
    },
}

/// A name that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path that was looked for, or the first component of it that is a link.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Type and permissions, as st_mode has them.
    pub mode: u32,
    /// Names that the inode has.
    pub links: u32,
    /// Text of a symbolic link, with escapes where it is not UTF-8; none for all else.
    pub link: Option<String>,
}

/// Why it is unknown whether a name exists.
#[derive(Clone, Debug, thiserror::Error)]
#[error("looking at `{path}` in the container: {source}")]
pub struct LookupError {
    /// The component that could not be looked at.
    pub path: String,
    /// The kernel's answer.
    pub source: Errno,
}

/// Looks at one path after the other, below the root `R`. A link that several of them go through
/// is answered once.
#[derive(Debug)]
pub struct Query<R> {
    root: R,
    paths: vec::IntoIter<RulePath>,
    links: BTreeSet<String>,
}

// === impl Paths ===

impl TryFrom<Vec<String>> for Paths {
    type Error = InvalidNames;

    fn try_from(names: Vec<String>) -> Result<Self, InvalidNames> {
        if names.len() > MAX_NAMES {
            return Err(InvalidNames::TooMany(names.len()));
        }
        let mut paths = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let of_name = paths_of(name);
            paths.extend(of_name.map_err(|source| InvalidNames::Path { at, source })?);
        }
        Ok(Self(paths))
    }
}

fn paths_of(name: &str) -> Result<Vec<RulePath>, InvalidPath> {
    // First, for other errors repeat the name.
    if name.len() > MAX_PATH_BYTES {
        return Err(InvalidPath::TooLong(name.len()));
    }
    if name.contains('/') {
        return Ok(vec![RulePath::new(name)?]);
    }
    PROGRAM_DIRECTORIES.iter().map(|place| RulePath::new(format!("{place}/{name}"))).collect()
}

// === impl Query ===

impl<R: AsFd> Query<R> {
    /// Nothing is looked at before it is asked for.
    #[must_use]
    pub fn new(root: R, paths: Paths) -> Self {
        Self { root, paths: paths.0.into_iter(), links: BTreeSet::new() }
    }
}

impl<R: AsFd> Iterator for Query<R> {
    type Item = Result<Entry, LookupError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match look_up(self.root.as_fd(), &self.paths.next()?) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    if entry.link.is_none() || self.links.insert(entry.path.clone()) {
                        return Some(Ok(entry));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The entry of a path, or of the first link on the way to it.
fn look_up(root: BorrowedFd<'_>, path: &RulePath) -> Result<Option<Entry>, LookupError> {
    let mut at = String::new();
    let mut walk = || {
        let mut found = Found::open(root, ".")?;
        for name in path.components() {
            at.push('/');
            at.push_str(name);
            found = Found::open(found.fd.as_fd(), name)?;
            if found.is_link() {
                break;
            }
        }
        Ok((found.link()?, found))
    };
    match walk() {
        Ok((link, Found { size, mode, links, .. })) => {
            let path = if at.is_empty() { "/".into() } else { at };
            Ok(Some(Entry { path, size, mode, links, link }))
        }
        Err(errno) if is_absence(errno) => Ok(None),
        Err(source) => Err(LookupError { path: at, source }),
    }
}

/// A file system that has no names as long as this one has no such file either.
fn is_absence(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG)
}

/// A file by its handle, which cannot be read from.
struct Found {
    fd: OwnedFd,
    size: u64,
    mode: u32,
    links: u32,
}

// === impl Found ===

impl Found {
    /// Opens one component; a link as such.
    fn open(directory: BorrowedFd<'_>, name: &str) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = openat2(directory, name, flags, Mode::empty(), resolve)?;
        let wanted = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::NLINK | StatxFlags::SIZE;
        let stat = statx(&fd, "", AtFlags::EMPTY_PATH, wanted)?;
        let mode = u32::from(stat.stx_mode);
        Ok(Self { fd, size: stat.stx_size, mode, links: stat.stx_nlink })
    }

    fn is_link(&self) -> bool {
        FileType::from_raw_mode(self.mode).is_symlink()
    }

    /// Reads the link that was opened, whatever has its name by now.
    fn link(&self) -> Result<Option<String>, Errno> {
        if !self.is_link() {
            return Ok(None);
        }
        let text = readlinkat(&self.fd, "", Vec::new())?;
        Ok(Some(escaped(text.as_bytes())))
    }
}

/// Messages carry UTF-8, and so do the paths of rules.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}
