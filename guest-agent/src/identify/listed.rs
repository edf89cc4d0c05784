// SPDX-License-Identifier: Apache-2.0
//! Files that rules name otherwise than by an identity: programs of directories, sources in them, and
//! other names of what is permitted.
//!
//! Identities flow in; opened inodes and what could not be looked at flow out. A directory is listed anew
//! for each search, in its own mount, and no further than so many entries. Nothing is read, no link
//! followed, and what a process serves is left alone: it need not answer.

use std::{os::fd::OwnedFd, sync::Arc};

use policy_model::{Directory, RulePath};
use rustix::{
    fs::{Dir, FileType},
    io::Errno,
};

use super::{
    Report, Reports, Shortfall, Site,
    beneath::{Facts, Reach, directory, facts_at, handle},
    find::many_names,
    index::is_elsewhere,
    names::Access,
};
use crate::{
    containers::Mount,
    lower::{Identity, NamedFiles},
    maps::ResidueReason,
};

/// Entries that one search looks at in all directories: some 20 us each, so that a fifth of its time
/// is left for contents. Ten times what `/usr` of a small image has.
const MAX_ENTRIES: usize = 50_000;

/// Files of directories that are held: a container has some hundred programs, and each is opened when
/// its set is applied, in about 0.1 ms.
const MAX_LISTED: usize = 4096;

/// Errors that are told of one directory.
const MAX_ERRORS: usize = 4;

/// Whether a file of this name is wanted, as far as is seen without opening it.
type IsWanted<'a> = dyn Fn(&RulePath, &Facts) -> bool + 'a;

/// Looks into the directories of one container.
pub(super) struct Listed<'a> {
    site: &'a Site,
    reports: &'a Reports,
    /// Mounts that a process serves.
    served: &'a [&'a Mount],
    /// What is left of [`MAX_ENTRIES`] and [`MAX_LISTED`].
    entries: usize,
    files: usize,
}

/// What was found in one directory.
#[derive(Default)]
struct Found {
    files: Vec<(OwnedFd, Facts)>,
    errors: Vec<ListError>,
}

/// Why not all of a directory was looked at.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error("the search looks at {MAX_ENTRIES} entries of directories")]
    TooMany,
    #[error("`{path}` cannot be listed: {errno}")]
    Directory { path: String, errno: Errno },
    #[error("`{0}` is another file system")]
    Mount(String),
    #[error("a process serves it")]
    Served,
}

// === impl Listed ===

impl<'a> Listed<'a> {
    pub(super) fn new(site: &'a Site, reports: &'a Reports, served: &'a [&'a Mount]) -> Self {
        Self { site, reports, served, entries: MAX_ENTRIES, files: MAX_LISTED }
    }

    /// Looks for all of these that are not one file by its name.
    pub(super) fn find(&mut self, wanted: &[Identity]) {
        for identity in wanted {
            match identity {
                Identity::Permitted(NamedFiles::One(path)) => self.find_permitted(path, identity),
                Identity::Permitted(NamedFiles::In(directory)) => {
                    self.find_in(directory, identity, &|_, facts| facts.names > 1);
                }
                Identity::Program { directory, but } => {
                    let is_wanted = |name: &RulePath, facts: &Facts| {
                        is_program(name, facts) && !but.iter().any(|named| named.covers(name))
                    };
                    self.find_in(directory, identity, &is_wanted);
                }
                Identity::Source(NamedFiles::In(directory)) => {
                    self.find_in(directory, identity, &is_program);
                }
                _ => {}
            }
        }
    }

    /// A file with further names, by which it could be written. If there is none, nobody has to know.
    fn find_permitted(&self, path: &RulePath, identity: &Identity) {
        if self.is_served(path) {
            return;
        }
        let found = handle(&*self.site.root, path.as_str().as_bytes(), Reach::Container);
        if let Ok((file, facts)) = found
            && facts.kind == FileType::RegularFile
            && facts.names > 1
        {
            self.report(identity, (file, facts));
        }
    }

    /// Holds files of a directory; what cannot be held is told once.
    fn find_in(&mut self, directory: &Directory, identity: &Identity, is_wanted: &IsWanted<'_>) {
        let Found { files, errors } = self.list_all(directory, is_wanted);
        let (mut beyond, mut many) = (0_usize, 0_usize);
        for (file, facts) in files {
            if many_names(identity, &facts).is_some() {
                many += 1;
            } else if self.files == 0 {
                beyond += 1;
            } else {
                self.files -= 1;
                self.report(identity, (file, facts));
            }
        }
        let short = |reason, detail| {
            let identity = identity.clone();
            self.reports.send(Report::Short(Shortfall { identity, reason, detail }));
        };
        if many > 0 {
            short(ResidueReason::ManyNames, format!("{many} of its programs have many names each"));
        }
        if beyond > 0 {
            let detail = format!("{beyond} files beyond the first {MAX_LISTED} of directories");
            short(ResidueReason::NotSearched, detail);
        }
        for error in errors.iter().take(MAX_ERRORS) {
            short(ResidueReason::NotSearched, error.to_string());
        }
    }

    fn report(&self, identity: &Identity, (file, facts): (OwnedFd, Facts)) {
        let (identity, file) = (identity.clone(), Arc::new(file));
        self.reports.send(Report::Found(facts.inode, identity, file, Access::Free));
    }

    fn is_served(&self, path: &RulePath) -> bool {
        self.served.iter().any(|mount| path.below(&mount.point).is_some())
    }

    fn list_all(&mut self, directory: &Directory, is_wanted: &IsWanted<'_>) -> Found {
        let mut found = Found::default();
        if self.is_served(&directory.path) {
            found.errors.push(ListError::Served);
            return found;
        }
        let path = directory.path.as_str();
        let base = match handle(&*self.site.root, path.as_bytes(), Reach::Container) {
            Ok((base, facts)) if facts.kind == FileType::Directory => base,
            // No such directory: names alone decide about what comes there.
            _ => return found,
        };
        let mut pending = vec![path.to_owned()];
        while let Some(path) = pending.pop() {
            let below = path.strip_prefix(directory.path.as_str()).unwrap_or_default();
            let inside = match below.trim_start_matches('/') {
                "" => ".",
                inside => inside,
            };
            match self.list((&base, inside, &path), is_wanted, &mut found.files) {
                Ok(directories) if directory.recursive => pending.extend(directories),
                Ok(_) => {}
                Err(ListError::Directory { errno: Errno::XDEV, .. }) => {
                    found.errors.push(ListError::Mount(path));
                }
                Err(ListError::Directory { errno, .. }) if is_elsewhere(errno) => {}
                Err(error @ ListError::TooMany) => {
                    found.errors.push(error);
                    break;
                }
                Err(error) => found.errors.push(error),
            }
        }
        found
    }

    /// One directory; yields those in it.
    fn list(
        &mut self,
        (base, inside, path): (&OwnedFd, &str, &str),
        is_wanted: &IsWanted<'_>,
        found: &mut Vec<(OwnedFd, Facts)>,
    ) -> Result<Vec<String>, ListError> {
        let failed = |errno| ListError::Directory { path: path.to_owned(), errno };
        let (fd, _) = directory(base, inside.as_bytes()).map_err(failed)?;
        let mut directories = Vec::new();
        for entry in Dir::read_from(&fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // No rule can name what is not text.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            self.entries = self.entries.checked_sub(1).ok_or(ListError::TooMany)?;
            let at = format!("{}/{name}", path.trim_end_matches('/'));
            match entry.file_type() {
                FileType::Directory => directories.push(at),
                FileType::RegularFile | FileType::Unknown if !self.reports.is_closed() => {
                    let Ok(path) = RulePath::new(at) else { continue };
                    let facts = facts_at(&fd, entry.file_name());
                    if !facts.is_ok_and(|facts| is_wanted(&path, &facts)) {
                        continue;
                    }
                    found.extend(handle(&fd, name.as_bytes(), Reach::Mount).ok());
                }
                _ => {}
            }
        }
        Ok(directories)
    }
}

/// What is executed by its name, not what programs load.
fn is_program(name: &RulePath, facts: &Facts) -> bool {
    facts.executable && !name.is_shared_object()
}
