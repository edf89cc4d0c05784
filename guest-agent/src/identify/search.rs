// SPDX-License-Identifier: Apache-2.0
//! One search, from names to contents. Blocks; ends early when nobody waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    sync::{Arc, PoisonError},
};

use rustix::{fs::FileType, io::Errno};

use super::{
    Index, MAX_SEARCHES, Report, Reports, Shortfall, Site, Slot,
    beneath::{Facts, Inode, Reach, handle},
    content::{Budget, Hashes, Sha},
    find::{Wanted, many_names},
    index::{Walk, is_elsewhere},
    leased,
    listed::Listed,
    names::{Access, Lack, Named, Names},
};
use crate::{
    containers::{Mount, Mounts},
    loader,
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
pub(super) const MAX_HELD: usize = 16_384;

/// Files of equal size that may be leased: a container has no good reason for more than a few.
const MAX_LEASED: usize = 256;

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
    /// Files that were leased when they were to be read.
    leased: Vec<Named>,
    /// Files of equal content that may still be held.
    twins: usize,
}

pub(super) fn run(site: &Site, wanted: &[Identity], reports: &Reports) {
    let mut search = Search::new(reports);
    let mounts = site.root.mounts(&site.init);
    let seen = mounts.as_ref().map(|mounts| mounts.views.concat()).unwrap_or_default();
    let served: Vec<_> = seen.iter().filter(|it| is_served(it)).collect();
    search.find_named(site, Wanted::of(wanted, &site.root, &served));
    Listed::new(site, reports, &served).find(wanted);
    for identity in wanted {
        if let Identity::Content { sha256, size } = identity {
            search.seek(identity.clone(), *size, Content::Known(*sha256));
        }
    }
    if search.sought.is_empty() {
        return;
    }
    let Some(_slot) = Slot::take(&site.searches) else {
        search.again(true);
        let hang = format!("{MAX_SEARCHES} earlier searches of the container have not come back");
        return search.unsearched(hang);
    };
    match mounts {
        Ok(Mounts { unread, .. }) => {
            search.find_twins(site, &seen);
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
            leased: Vec::new(),
            twins: most_twins(),
        }
    }

    /// Looks for files by their names, and waits for those that are leased.
    fn find_named(&mut self, site: &Site, wanted: Wanted) {
        let goes_on = || !self.reports.is_closed();
        let identities = wanted.identities();
        let outcomes = Names::new(wanted, &site.searches.hanging).find(goes_on);
        let (mut found, mut leased) = (Vec::new(), Vec::new());
        for (identity, outcome) in identities.into_iter().zip(outcomes) {
            match outcome {
                Ok(named) if matches!(named.access, Access::Leased) => {
                    let (file, access) = (Arc::clone(&named.file), Access::Leased);
                    self.report(Report::Found(named.facts.inode, identity.clone(), file, access));
                    leased.push((identity, named));
                }
                Ok(named) => found.push((identity, named)),
                Err(Lack { reason, detail, passing }) => {
                    self.again(passing);
                    self.report(Report::Short(Shortfall { identity, reason, detail }));
                }
            }
        }
        let (identities, files): (Vec<_>, Vec<_>) = leased.into_iter().unzip();
        let freed = leased::wait(files, &site.searches.hanging, goes_on);
        for (identity, named) in found.into_iter().chain(identities.into_iter().zip(freed)) {
            self.hold(identity, named);
        }
    }

    /// A file was found by its name: others may have its content.
    fn hold(&mut self, identity: Identity, named: Named) {
        let Named { file, facts, access } = named;
        self.known.insert(facts.inode);
        let (file_too, identity_too) = (Arc::clone(&file), identity.clone());
        self.report(Report::Found(facts.inode, identity_too, file_too, access));
        self.seek(identity, facts.size, Content::Of(file, facts));
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
            if is_served(mount) {
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
        self.compare_leased(&site.searches.hanging, hashes);
    }

    /// Holds a file whose content is sought.
    fn compare(&mut self, opened: Result<(OwnedFd, Facts), Errno>, hashes: &mut Hashes) {
        let (file, facts) = match opened {
            Ok(opened) => opened,
            Err(errno) if is_elsewhere(errno) => return,
            Err(errno) => return self.unsearched(format!("a file cannot be opened: {errno}")),
        };
        let is_sought = self.by_size.contains_key(&facts.size);
        let is_new = facts.kind == FileType::RegularFile && !self.known.contains(&facts.inode);
        if !is_new || !is_sought || self.reports.is_closed() {
            return;
        }
        if self.known.len() >= MAX_HELD {
            return self.unsearched(format!("files beyond the first {MAX_HELD}"));
        }
        self.compare_file(Named { file: Arc::new(file), facts, access: Access::Free }, hashes);
    }

    fn compare_file(&mut self, named: Named, hashes: &mut Hashes) {
        let facts = named.facts;
        let content = match hashes.of(&named.file, &facts, &mut self.budget) {
            Ok(content) => content,
            Err(error) if error.is_lease() && self.leased.len() < MAX_LEASED => {
                return self.leased.push(Named { access: Access::Leased, ..named });
            }
            Err(error) => {
                self.again(error.is_passing());
                return self.unsearched(format!("a file of {} bytes: {error}", facts.size));
            }
        };
        for at in self.by_size.get(&facts.size).cloned().unwrap_or_default() {
            self.compare_with(at, (&named, content), hashes);
        }
        // It may have more names.
        self.known.insert(facts.inode);
    }

    /// Once all others are done: the holders of the leases have had time to give them up.
    fn compare_leased(&mut self, hanging: &Arc<()>, hashes: &mut Hashes) {
        let leased = std::mem::take(&mut self.leased);
        for named in leased::wait(leased, hanging, || !self.reports.is_closed()) {
            match named.access {
                Access::Leased => {
                    self.again(true);
                    self.unsearched(format!("a file of {} bytes: it is leased", named.facts.size));
                }
                _ => self.compare_file(named, hashes),
            }
        }
    }

    fn compare_with(&mut self, at: usize, (named, content): (&Named, Sha), hashes: &mut Hashes) {
        let Named { file, facts, access } = named;
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
                    self.again(error.is_passing());
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
            None if self.twins == 0 => {
                let most = most_twins();
                return self.unsearched(format!("files beyond the first {most} of equal content"));
            }
            None => {
                self.twins -= 1;
                Report::Found(facts.inode, identity, Arc::clone(file), access.clone())
            }
        };
        self.report(report);
    }

    fn unsearched(&self, place: String) {
        self.report(Report::Unsearched(place));
    }

    /// Says that another search may find what this one could not.
    fn again(&self, is_passing: bool) {
        if is_passing {
            self.report(Report::Again);
        }
    }

    fn report(&self, report: Report) {
        self.reports.send(report);
    }
}

/// Files of equal content that one container makes its rules hold: on an overlay each takes two entries
/// of the kernel's table, and twice that while one set takes the place of another. Four containers that
/// make as many copies as they can leave half of the table to others.
fn most_twins() -> usize {
    loader::entries_of("inodes") as usize / 32
}

/// Whether a process serves it: virtiofs is served by the host, and walked as any other.
fn is_served(mount: &Mount) -> bool {
    let fs_type = mount.fs_type.as_str();
    matches!(fs_type, "fuse" | "fuseblk") || fs_type.starts_with("fuse.")
}
