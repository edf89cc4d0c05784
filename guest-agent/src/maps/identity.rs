// SPDX-License-Identifier: Apache-2.0
//! Files held by identity: found by name once, then known by their inodes.
//!
//! The agent opens each file while the kernel's `probes` names its thread; `file_open` records
//! every inode that this open touches, on an overlay the layer's too, which no stat(2) tells.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use guest_bpf::abi;
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    unistd::gettid,
};
use policy_model::{RuleId, RulePath, limits::MAX_IDENTITY_LINKS};

use super::{InstallError, Maps, MapsError, failed};
use crate::lower::Plan;

/// A rule that could not be put into force as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residue {
    /// The rule.
    pub rule: RuleId,
    /// Why.
    pub reason: ResidueReason,
    /// The path, and what was found.
    pub detail: String,
}

/// Why a file cannot be held by identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidueReason {
    /// There is no such file now.
    Absent,
    /// The inode stands for other programs too.
    ManyNames,
    /// A component of the path is a symbolic link.
    Symlink,
    /// It could not be opened, or is no regular file.
    Unreadable,
}

/// A file with the rules that hold it.
pub(super) struct Target {
    pub(super) path: RulePath,
    pub(super) rules: Vec<usize>,
    /// Found by name, not yet opened for reading.
    found: OwnedFd,
    /// Opened for reading: the inode is recorded, and stays.
    pub(super) file: Option<OwnedFd>,
}

/// The files of a plan.
pub(super) struct Held {
    pub(super) targets: Vec<Target>,
    pub(super) residues: Vec<Residue>,
}

// === impl Held ===

impl Held {
    /// Looks for every file of the plan; two names of one inode are one target with all rules.
    pub(super) fn open(plan: &Plan, root: &OwnedFd) -> Self {
        let mut by_inode: BTreeMap<(u64, u64), Target> = BTreeMap::new();
        let mut residues = Vec::new();
        for (path, rules) in &plan.identities {
            match find(root, path) {
                Ok((found, inode)) => {
                    let target = by_inode.entry(inode).or_insert_with(|| Target {
                        path: path.clone(),
                        rules: Vec::new(),
                        found,
                        file: None,
                    });
                    target.rules.extend(rules);
                }
                Err((reason, why)) => {
                    let detail = format!("{path}: {why}");
                    residues.extend(plan.ids(rules).into_iter().map(|rule| Residue {
                        rule,
                        reason,
                        detail: detail.clone(),
                    }));
                }
            }
        }
        Self { targets: by_inode.into_values().collect(), residues }
    }
}

// === impl Maps ===

impl Maps {
    /// Lets the kernel record the inodes of a target.
    pub(super) fn record(
        &mut self,
        set: u32,
        class: u32,
        target: &mut Target,
    ) -> Result<(), InstallError> {
        let failed_to =
            |reason: String| InstallError::Identity { path: target.path.to_string(), reason };
        let thread = gettid().as_raw().cast_unsigned();
        let probe = abi::Probe { thread, set, class_id: class, seen: 0, failed: 0 };
        self.probes.set(0, probe, 0).map_err(failed("announcing an open"))?;
        let opened = reopen(&target.found);
        let probe = self.probes.get(&0, 0).map_err(failed("reading what an open showed"));
        self.end_probe()?;
        let (probe, file) = (probe?, opened.map_err(|error| failed_to(error.to_string()))?);
        if probe.seen == 0 || probe.failed > 0 {
            let abi::Probe { seen, failed, .. } = probe;
            return Err(failed_to(format!("the kernel recorded {seen} inodes and lost {failed}")));
        }
        target.file = Some(file);
        Ok(())
    }

    /// From now on what the agent opens is nobody's identity.
    pub(super) fn end_probe(&mut self) -> Result<(), MapsError> {
        self.probes.set(0, abi::Probe::default(), 0).map_err(failed("ending an open"))
    }

    pub(super) fn erase_identities(&mut self, set: u32) -> Result<(), MapsError> {
        let keys: Vec<_> = self.inodes.keys().filter_map(Result::ok).collect();
        for key in keys.into_iter().filter(|key| key.set == set) {
            self.inodes.remove(&key).map_err(failed("erasing an identity"))?;
        }
        Ok(())
    }
}

type NotFound = (ResidueReason, String);

fn find(root: &OwnedFd, path: &RulePath) -> Result<(OwnedFd, (u64, u64)), NotFound> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let found = openat2(root.as_fd(), path.as_str(), how).map_err(|errno| {
        let reason = match errno {
            Errno::ENOENT | Errno::ENOTDIR => ResidueReason::Absent,
            Errno::ELOOP => ResidueReason::Symlink,
            _ => ResidueReason::Unreadable,
        };
        (reason, errno.desc().to_owned())
    })?;
    let file = File::from(found);
    let unreadable = |error: io::Error| (ResidueReason::Unreadable, error.to_string());
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_symlink() {
        return Err((ResidueReason::Symlink, "a symbolic link".into()));
    }
    if !metadata.is_file() {
        return Err((ResidueReason::Unreadable, "no regular file".into()));
    }
    let names = metadata.nlink();
    if names > MAX_IDENTITY_LINKS {
        let why = format!("the inode has {names} names; its identity stands for all of them");
        return Err((ResidueReason::ManyNames, why));
    }
    Ok((file.into(), (metadata.dev(), metadata.ino())))
}

/// Opens for reading what was found: the same inode, whatever happened to the name since.
fn reopen(found: &OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map(Into::into)
}
