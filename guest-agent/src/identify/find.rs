// SPDX-License-Identifier: Apache-2.0
//! One name of a container: the file that has it, if that is one to hold.

use std::{
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use policy_model::{RulePath, limits::MAX_IDENTITY_LINKS};
use rustix::{fs::FileType, io::Errno};

use super::{
    beneath::{Facts, Reach, handle, reopen},
    names::{Access, Finder, Lack, Named, Outcome},
    search::MAX_HELD,
};
use crate::{
    containers::{Mount, Root},
    lower::{Identity, NamedFiles},
    maps::ResidueReason,
};

/// Mounts that are asked about of each name: a container makes as many as it likes.
const MAX_SERVED: usize = 64;

/// Names to look for.
pub(super) struct Wanted {
    root: Arc<Root>,
    names: Vec<(RulePath, Identity)>,
    found: AtomicUsize,
    /// The last directory that a file was not found in, and why it is absent itself, if it is. Never
    /// locked while the file system is asked.
    missed: Mutex<Option<(String, Option<Errno>)>>,
}

// === impl Wanted ===

impl Wanted {
    /// The identities that have names; last those that a process may serve, which need not answer.
    pub(super) fn of(wanted: &[Identity], root: &Arc<Root>, served: &[&Mount]) -> Self {
        let names = wanted.iter().filter_map(|identity| match identity {
            Identity::Path(path)
            | Identity::Binary(path)
            | Identity::Source(NamedFiles::One(path)) => Some((path.clone(), identity.clone())),
            _ => None,
        });
        let mut names: Vec<_> = names.collect();
        let served = served.get(..MAX_SERVED).unwrap_or(served);
        names.sort_by_key(|(path, _)| served.iter().any(|it| path.below(&it.point).is_some()));
        let (found, missed) = (AtomicUsize::new(0), Mutex::new(None));
        Self { root: Arc::clone(root), names, found, missed }
    }

    /// In the order in which they are looked for.
    pub(super) fn identities(&self) -> Vec<Identity> {
        self.names.iter().map(|(_, identity)| identity.clone()).collect()
    }

    fn absence_of(&self, directory: &str) -> Option<Errno> {
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.as_ref().filter(|(known, _)| known == directory)?.1
    }

    /// Looks once for a directory that lacks a file: names come in order, and those that are to be
    /// blocked are often of programs whose directory no image has.
    fn miss(&self, directory: &str) {
        let is_known = |missed: &Option<(String, _)>| {
            missed.as_ref().is_some_and(|(known, _)| known == directory)
        };
        if is_known(&self.missed.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let errno = handle(&*self.root, directory.as_bytes(), Reach::Container).err();
        let absence = errno.filter(|errno| matches!(*errno, Errno::NOENT | Errno::NOTDIR));
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        *missed = Some((directory.to_owned(), absence));
    }

    fn open(&self, path: &RulePath, identity: &Identity, announce: &dyn Fn(&Named)) -> Outcome {
        let found = handle(&*self.root, path.as_str().as_bytes(), Reach::Container);
        let (file, facts) = found.map_err(told)?;
        check(&facts, identity)?;
        let named = Named { file: Arc::new(file), facts, access: Access::Free };
        announce(&named);
        Ok(Named { access: access_to(&named.file)?, ..named })
    }
}

impl Finder for Wanted {
    fn count(&self) -> usize {
        self.names.len()
    }

    fn find(&self, at: usize, announce: &dyn Fn(&Named)) -> Outcome {
        let Some((path, identity)) = self.names.get(at) else { return Err(told(Errno::NOENT)) };
        if self.found.load(Ordering::Relaxed) >= MAX_HELD {
            return Err(lack(ResidueReason::Unreadable, format!("{MAX_HELD} files are held")));
        }
        let directory = match path.as_str().rsplit_once('/') {
            None | Some(("", _)) => "/",
            Some((directory, _)) => directory,
        };
        let found = match self.absence_of(directory) {
            Some(errno) => Err(told(errno)),
            None => self.open(path, identity, announce),
        };
        match &found {
            Ok(_) => drop(self.found.fetch_add(1, Ordering::Relaxed)),
            Err(Lack { reason: ResidueReason::Absent, .. }) => self.miss(directory),
            Err(_) => {}
        }
        found
    }
}

/// Whether it is a file to hold.
fn check(facts: &Facts, identity: &Identity) -> Result<(), Lack> {
    match facts.kind {
        FileType::Symlink => Err(lack(ResidueReason::Symlink, "a symbolic link".into())),
        FileType::RegularFile => match many_names(identity, facts) {
            Some(detail) => Err(lack(ResidueReason::ManyNames, detail)),
            None => Ok(()),
        },
        _ => Err(lack(ResidueReason::Unreadable, "no regular file".into())),
    }
}

/// It is opened once more to be recorded; what hangs then hangs here first.
fn access_to(file: &OwnedFd) -> Result<Access, Lack> {
    match reopen(file) {
        Ok(open) => Ok(Access::Kept(Arc::new(open))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Access::Leased),
        Err(error) => Err(lack(ResidueReason::Unreadable, error.to_string())),
    }
}

fn told(errno: Errno) -> Lack {
    let reason = match errno {
        Errno::NOENT | Errno::NOTDIR => ResidueReason::Absent,
        Errno::LOOP => ResidueReason::Symlink,
        _ => ResidueReason::Unreadable,
    };
    lack(reason, io::Error::from(errno).to_string())
}

fn lack(reason: ResidueReason, detail: String) -> Lack {
    Lack { reason, detail, passing: false }
}

/// A binary whose applets are told apart may have as many as it likes, and so may what is only kept from
/// being written.
pub(super) fn many_names(identity: &Identity, facts: &Facts) -> Option<String> {
    let names = facts.names;
    let for_all = matches!(identity, Identity::Binary(_) | Identity::Permitted(_));
    let is_one_for_all = names > MAX_IDENTITY_LINKS && !for_all;
    is_one_for_all
        .then(|| format!("the inode has {names} names; its identity stands for all of them"))
}
