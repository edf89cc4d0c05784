// SPDX-License-Identifier: Apache-2.0
//! Files by their names, looked for one after the other on a thread that is left behind where it
//! hangs.
//!
//! Names flow in, and for each either an opened inode flows out or the reason why there is none.
//! What holds one file decides nothing of the next: a look-up on a file system of a process's own
//! (FUSE), and an open that waits for leave (fanotify), cost some patience each. Never: waits for a
//! lease; `leased.rs` does, when all names were looked for.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::beneath::Facts;
use crate::maps::ResidueReason;

/// For one name: a disk answers in milliseconds, a host that swaps in tens of them.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether a thread gets on; and the patience with names after one that hung,
/// so that sixteen of them leave time for the rest of a search.
const TICK: Duration = Duration::from_millis(100);

/// Threads of one container that hang: files beyond them are held by name alone until some of them
/// come back. A thread takes 16 KiB of the guest's memory while it waits.
const MAX_HANGING: usize = 16;

/// A file that has a name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) file: Arc<OwnedFd>,
    pub(super) facts: Facts,
    pub(super) access: Access,
}

/// What came of opening a file.
#[derive(Clone, Debug)]
pub enum Access {
    /// Nothing was in the way.
    Free,
    /// A process has a lease on it, and may take another after it.
    Leased,
    /// It is open, and not leased as long as it is.
    Kept(Arc<File>),
    /// An open does not come back.
    Hangs,
}

/// Why a name has no file to hold.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    pub(super) reason: ResidueReason,
    pub(super) detail: String,
    /// Whether another search may find one.
    pub(super) passing: bool,
}

/// A name's file, or why there is none.
pub(super) type Outcome = Result<Named, Lack>;

/// Looks for the files of names.
pub(super) trait Finder: Send + Sync + 'static {
    /// How many names there are.
    fn count(&self) -> usize;

    /// Looks for one: first its handle, which is announced, then it is opened.
    fn find(&self, at: usize, announce: &dyn Fn(&Named)) -> Outcome;
}

/// What the thread that looks and the one that waits for it share.
#[derive(Default)]
struct Progress {
    /// Whose reports count: threads have numbers, and those that were left behind lower ones.
    turn: usize,
    outcomes: Vec<Outcome>,
    /// Found, and being opened.
    announced: Option<Named>,
}

/// A search for names.
pub(super) struct Names<F> {
    finder: Arc<F>,
    progress: Arc<Mutex<Progress>>,
    /// A reference for each thread of the container that has not ended.
    hanging: Arc<()>,
    patience: Duration,
}

// === impl Lack ===

impl Lack {
    fn silent(why: impl ToString) -> Self {
        Self { reason: ResidueReason::Unreadable, detail: why.to_string(), passing: true }
    }
}

// === impl Names ===

impl<F: Finder> Names<F> {
    pub(super) fn new(finder: F, hanging: &Arc<()>) -> Self {
        Self {
            finder: Arc::new(finder),
            progress: Arc::default(),
            hanging: Arc::clone(hanging),
            patience: PATIENCE,
        }
    }

    /// Waits longer for the first one that hangs.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What came of each name, in order. Ends early when `goes_on` says so.
    pub(super) fn find(mut self, goes_on: impl Fn() -> bool) -> Vec<Outcome> {
        let count = self.finder.count();
        while lock(&self.progress).outcomes.len() < count && goes_on() {
            match self.start() {
                Ok(ended) => self.watch(&ended, &goes_on),
                Err(error) => {
                    lock(&self.progress).outcomes.resize(count, Err(Lack::silent(error)));
                }
            }
        }
        let mut progress = lock(&self.progress);
        progress.turn += 1;
        std::mem::take(&mut progress.outcomes)
    }

    /// A thread that goes on with the first name that nothing is known of.
    fn start(&self) -> io::Result<Receiver<()>> {
        if Arc::strong_count(&self.hanging) > MAX_HANGING {
            return Err(io::Error::other(format!("{MAX_HANGING} opens have not come back")));
        }
        let (alive, ended) = mpsc::channel::<()>();
        let (finder, progress) = (Arc::clone(&self.finder), Arc::clone(&self.progress));
        let hanging = Arc::clone(&self.hanging);
        let turn = lock(&progress).turn;
        thread::Builder::new().name("names".into()).spawn(move || {
            let _until_the_end = (alive, hanging);
            look(&*finder, &progress, turn);
        })?;
        Ok(ended)
    }

    /// Waits until a thread has ended, or hangs; then what it looks for has an outcome too.
    fn watch(&mut self, ended: &Receiver<()>, goes_on: &impl Fn() -> bool) {
        let (mut known, mut since) = (lock(&self.progress).outcomes.len(), Instant::now());
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
            let now = lock(&self.progress).outcomes.len();
            if now > known {
                (known, since) = (now, Instant::now());
            } else if since.elapsed() >= self.patience || !goes_on() {
                break;
            }
        }
        let mut progress = lock(&self.progress);
        progress.turn += 1;
        if progress.outcomes.len() == known && known < self.finder.count() {
            let outcome = match progress.announced.take() {
                Some(named) => Ok(Named { access: Access::Hangs, ..named }),
                None => Err(Lack::silent("its file system does not answer")),
            };
            progress.outcomes.push(outcome);
            self.patience = TICK;
        }
    }
}

/// Looks for one name after the other, as long as it is this thread's turn.
fn look<F: Finder>(finder: &F, progress: &Mutex<Progress>, turn: usize) {
    let announce = |named: &Named| {
        let mut progress = lock(progress);
        if progress.turn == turn {
            progress.announced = Some(named.clone());
        }
    };
    loop {
        let at = match lock(progress) {
            progress if progress.turn == turn => progress.outcomes.len(),
            _ => return,
        };
        if at >= finder.count() {
            return;
        }
        let outcome = finder.find(at, &announce);
        let mut progress = lock(progress);
        if progress.turn != turn {
            return;
        }
        progress.announced = None;
        progress.outcomes.push(outcome);
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
