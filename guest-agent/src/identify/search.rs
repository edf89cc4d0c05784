// SPDX-License-Identifier: Apache-2.0
//! One search, from names to contents. Blocks; ends early when nobody waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    sync::{Arc, PoisonError},
};

use policy_model::{RulePath, limits::MAX_IDENTITY_LINKS};
use rustix::{fs::FileType, io::Errno};

use super::{
    Index, Report, Reports, Shortfall, Site,
    beneath::{Facts, Inode, Reach, handle, reopen},
    content::{Budget, Hashes, Sha},
    index::{Walk, is_elsewhere},
};
use crate::{
    containers::{Mount, Mounts, Root},
    lower::Identity,
    maps::ResidueReason,
};

/// File systems whose files hold no bytes that were written to them, or none that can be executed.
const NO_DATA: [&str; 17] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "mqueue",
    "bpf",
    "securityfs",
    "debugfs",
    "tracefs",
    "configfs",
    "fusectl",
    "pstore",
    "binfmt_misc",
    "efivarfs",
    "nsfs",
];

/// File systems whose directories get a new time with each change, by this kernel's clock.
const KEEP_TIME: [&str; 6] = ["overlay", "ext4", "xfs", "tmpfs", "ramfs", "erofs"];

/// Files that one search holds: descriptors of the agent, of which it may have four times as many.
const MAX_HELD: usize = 16_384;

/// What a content is looked for with: of files that were found by name, and of content rules.
struct Sought {
    identity: Identity,
    size: u64,
    content: Content,
}

enum Content {
    Known(Sha),
    /// Of a file that is read when another one of its size turns up.
    Of(Arc<OwnedFd>, Facts),
}

/// A search under way.
struct Search<'a> {
    reports: &'a Reports,
    sought: Vec<Sought>,
    by_size: BTreeMap<u64, Vec<usize>>,
    known: BTreeSet<Inode>,
    budget: Budget,
    /// The last directory that a file was not found in, and why it is absent itself, if it is.
    missed: Option<(String, Option<Errno>)>,
}

pub(super) fn run(site: &Site, wanted: &[Identity], reports: &Reports) {
    let mut search = Search::new(reports);
    for identity in wanted {
        match identity {
            Identity::Path(path) | Identity::Binary(path) => {
                search.find(site, path, identity);
            }
            Identity::Content { sha256, size } => {
                search.seek(identity.clone(), *size, Content::Known(*sha256));
            }
        }
    }
    if search.sought.is_empty() {
        return;
    }
    match site.root.mounts(&site.init) {
        Ok(Mounts { views, unread }) => {
            search.find_twins(site, &views.concat());
            if let Some(error) = unread {
                search.unsearched(format!("what was mounted since its registration: {error}"));
            }
        }
        Err(error) => search.unsearched(format!("all mounts: {error}")),
    }
}

// === impl Search ===

impl<'a> Search<'a> {
    fn new(reports: &'a Reports) -> Self {
        Self {
            reports,
            sought: Vec::new(),
            by_size: BTreeMap::new(),
            known: BTreeSet::new(),
            budget: Budget::default(),
            missed: None,
        }
    }

    /// Looks for a file by its name.
    fn find(&mut self, site: &Site, path: &RulePath, identity: &Identity) {
        let identity = identity.clone();
        if self.known.len() >= MAX_HELD {
            let (reason, detail) =
                (ResidueReason::Unreadable, format!("{MAX_HELD} files are held"));
            return self.report(Report::Short(Shortfall { identity, reason, detail }));
        }
        let directory = match path.as_str().rsplit_once('/') {
            None | Some(("", _)) => "/",
            Some((directory, _)) => directory,
        };
        let found = match self.absence_of(directory) {
            Some(errno) => Err(told(errno)),
            None => find(&site.root, path, &identity),
        };
        if matches!(found, Err((ResidueReason::Absent, _))) {
            self.miss(&site.root, directory);
        }
        match found {
            Ok((file, facts)) => {
                let file = Arc::new(file);
                self.known.insert(facts.inode);
                self.report(Report::Found(facts.inode, identity.clone(), Arc::clone(&file)));
                self.seek(identity, facts.size, Content::Of(file, facts));
            }
            Err((reason, detail)) => {
                self.report(Report::Short(Shortfall { identity, reason, detail }));
            }
        }
    }

    fn absence_of(&self, directory: &str) -> Option<Errno> {
        self.missed.as_ref().filter(|(known, _)| known == directory)?.1
    }

    /// Looks once for a directory that lacks a file: names come in order, and those that are to be
    /// blocked are often of programs whose directory no image has.
    fn miss(&mut self, root: &Root, directory: &str) {
        if self.missed.as_ref().is_none_or(|(known, _)| known != directory) {
            let errno = handle(root, directory.as_bytes(), Reach::Container).err();
            let absence = errno.filter(|errno| matches!(*errno, Errno::NOENT | Errno::NOTDIR));
            self.missed = Some((directory.to_owned(), absence));
        }
    }

    /// Every empty file has the content of an empty one: that says nothing.
    fn seek(&mut self, identity: Identity, size: u64, content: Content) {
        if size > 0 {
            self.by_size.entry(size).or_default().push(self.sought.len());
            self.sought.push(Sought { identity, size, content });
        }
    }

    /// Looks for files with the content of others.
    fn find_twins(&mut self, site: &Site, mounts: &[Mount]) {
        // A search that panicked has left an index that is renewed all the same.
        let mut index = site.searches.index.lock().unwrap_or_else(PoisonError::into_inner);
        let Index { trees, hashes } = &mut *index;
        // Of several mounts at one point the last is seen.
        let by_point: BTreeMap<&str, &Mount> =
            mounts.iter().map(|mount| (mount.point.as_str(), mount)).collect();
        trees.retain(&by_point.keys().copied().collect::<Vec<_>>());
        for (point, mount) in by_point {
            if NO_DATA.contains(&mount.fs_type.as_str()) {
                continue;
            }
            if is_served_by_a_process(&mount.fs_type) {
                self.unsearched(format!("`{point}`, which a process serves ({})", mount.fs_type));
                continue;
            }
            let opened = handle(&site.root, point.as_bytes(), Reach::Container);
            match opened {
                Ok((root, facts)) if facts.kind == FileType::Directory => {
                    let reports = self.reports;
                    let sizes: BTreeSet<u64> = self.by_size.keys().copied().collect();
                    let walk = Walk {
                        mount: &root,
                        keeps_time: KEEP_TIME.contains(&mount.fs_type.as_str()),
                        goes_on: &|| !reports.is_closed(),
                        is_wanted: &|size| sizes.contains(&size),
                    };
                    let errors = trees.find(point, &walk, |path| {
                        self.compare(handle(&root, path, Reach::Mount), hashes);
                    });
                    for error in errors {
                        self.unsearched(format!("`{point}`: {error}"));
                    }
                }
                opened => self.compare(opened, hashes),
            }
        }
    }

    /// Holds a file whose content is sought.
    fn compare(&mut self, opened: Result<(OwnedFd, Facts), Errno>, hashes: &mut Hashes) {
        let (file, facts) = match opened {
            Ok(opened) => opened,
            Err(errno) if is_elsewhere(errno) => return,
            Err(errno) => return self.unsearched(format!("a file cannot be opened: {errno}")),
        };
        let sought = self.by_size.get(&facts.size).cloned().unwrap_or_default();
        let is_new = facts.kind == FileType::RegularFile && !self.known.contains(&facts.inode);
        if !is_new || sought.is_empty() || self.reports.is_closed() {
            return;
        }
        if self.known.len() >= MAX_HELD {
            return self.unsearched(format!("files beyond the first {MAX_HELD}"));
        }
        let file = Arc::new(file);
        let content = match hashes.of(&file, &facts, &mut self.budget) {
            Ok(content) => content,
            Err(error) => {
                let of = facts.size;
                return self.unsearched(format!("a file of {of} bytes: {error}"));
            }
        };
        for at in sought {
            self.compare_with(at, (&file, &facts, content), hashes);
        }
        // It may have more names.
        self.known.insert(facts.inode);
    }

    fn compare_with(
        &mut self,
        at: usize,
        (file, facts, content): (&Arc<OwnedFd>, &Facts, Sha),
        hashes: &mut Hashes,
    ) {
        let Some(sought) = self.sought.get_mut(at) else { return };
        let wanted = match &sought.content {
            Content::Known(sha) => *sha,
            Content::Of(target, its) => match hashes.of(target, its, &mut self.budget) {
                Ok(sha) => {
                    sought.content = Content::Known(sha);
                    sha
                }
                Err(error) => {
                    let place = format!("files with the content of `{}`: {error}", sought.identity);
                    return self.unsearched(place);
                }
            },
        };
        if wanted != content {
            return;
        }
        let identity = sought.identity.clone();
        debug_assert_eq!(sought.size, facts.size, "it was found by its size");
        let report = match many_names(&identity, facts) {
            Some(detail) => {
                let reason = ResidueReason::ManyNames;
                let detail = format!("a file of equal content: {detail}");
                Report::Short(Shortfall { identity, reason, detail })
            }
            None => Report::Found(facts.inode, identity, Arc::clone(file)),
        };
        self.report(report);
    }

    fn unsearched(&self, place: String) {
        self.report(Report::Unsearched(place));
    }

    fn report(&self, report: Report) {
        self.reports.send(report);
    }
}

/// virtiofs is served by the host, and walked as any other.
fn is_served_by_a_process(fs_type: &str) -> bool {
    matches!(fs_type, "fuse" | "fuseblk") || fs_type.starts_with("fuse.")
}

fn find(
    root: &Root,
    path: &RulePath,
    identity: &Identity,
) -> Result<(OwnedFd, Facts), (ResidueReason, String)> {
    let found = handle(root, path.as_str().as_bytes(), Reach::Container);
    let (file, facts) = found.map_err(told)?;
    match facts.kind {
        FileType::Symlink => Err((ResidueReason::Symlink, "a symbolic link".into())),
        FileType::RegularFile => match many_names(identity, &facts) {
            Some(detail) => Err((ResidueReason::ManyNames, detail)),
            // It is opened once more to be recorded; what hangs then hangs here first.
            None => match reopen(&file) {
                Ok(_) => Ok((file, facts)),
                Err(error) => Err((ResidueReason::Unreadable, error.to_string())),
            },
        },
        _ => Err((ResidueReason::Unreadable, "no regular file".into())),
    }
}

fn told(errno: Errno) -> (ResidueReason, String) {
    let reason = match errno {
        Errno::NOENT | Errno::NOTDIR => ResidueReason::Absent,
        Errno::LOOP => ResidueReason::Symlink,
        _ => ResidueReason::Unreadable,
    };
    (reason, std::io::Error::from(errno).to_string())
}

/// A binary whose applets are told apart may have as many as it likes.
fn many_names(identity: &Identity, facts: &Facts) -> Option<String> {
    let names = facts.names;
    let is_one_for_all = names > MAX_IDENTITY_LINKS && !matches!(identity, Identity::Binary(_));
    is_one_for_all
        .then(|| format!("the inode has {names} names; its identity stands for all of them"))
}
