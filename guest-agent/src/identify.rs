// SPDX-License-Identifier: Apache-2.0
//! The files that a rule set holds by identity, found before it comes into force.
//!
//! Identities flow in; opened inodes flow out ([`Findings`]), with what could not be told. A file is
//! found by its name, then every other one of the container's that has its content. All of it runs
//! on a thread of its own against a deadline, and each look-up on one that may hang: a file system that
//! a process of the container serves (FUSE) can hold it for ever. What holds one file decides nothing of
//! another, and a lease (fcntl) is waited for; what passes is said to, and looked for later. No link is followed, no device or FIFO is opened, nothing is
//! changed, and no map is known here: `maps.rs` lets the kernel record what was found.

mod beneath;
mod content;
mod find;
mod index;
mod leased;
mod listed;
mod names;
mod search;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    mem,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    containers::{Init, Root},
    lower::Identity,
    maps::ResidueReason,
};
pub use beneath::Inode;
use content::Hashes;
use index::Trees;
pub use leased::shorten as shorten_leases;
pub use names::Access;

/// For a search: of the gate's 8 s, less where a container has waited for its rules already, so that
/// a container whose files cannot all be searched starts all the same. In an emulated guest whose processor is shared by ten, an image of 5,000 files that
/// nobody has looked at yet takes 4.5 s, and 0.1 s when the index is made.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What a search has in any case. If that is too long for the gate, the container is refused: its
/// rules would hold by name alone.
pub(crate) const LEAST: Duration = Duration::from_secs(1);

/// Searches of one container for equal content that have not come back. More than one at a time means
/// that one hangs. Those for names come back in any case.
const MAX_SEARCHES: usize = 4;

/// Places that one search tells it has not looked at; a residue names four of them.
const MAX_UNSEARCHED: usize = 64;

/// Reports of one search, less those of files that are held: names that a set of 100,000 rules looks
/// for are told first, files of equal content that cannot be held as long as there is room.
const MAX_REPORTS: usize = 150_000;

/// An inode to hold.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which one it is, as long as it is held.
    pub inode: Inode,
    /// What it is held for.
    pub identities: BTreeSet<Identity>,
    /// Opened for nothing but to be known: it stays the same inode, whatever its name does.
    pub file: Arc<OwnedFd>,
    /// What an open of it meets.
    pub access: Access,
}

/// Why a file of an identity is not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Of what.
    pub identity: Identity,
    /// Why.
    pub reason: ResidueReason,
    /// What was found instead.
    pub detail: String,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Each inode once.
    pub files: Vec<Found>,
    /// Files that were looked for and cannot be held.
    pub shortfalls: Vec<Shortfall>,
    /// Where files of equal content may be that were not looked at.
    pub unsearched: Vec<String>,
    /// Whether something was in the way that passes: another search may find more.
    pub passing: bool,
}

/// Where to search.
#[derive(Clone, Debug)]
pub struct Site {
    root: Arc<Root>,
    init: Init,
    searches: Arc<Searches>,
    /// When it is given up; none for [`DEADLINE`].
    until: Option<Instant>,
}

/// What the searches of one container share.
#[derive(Debug, Default)]
pub struct Searches {
    /// Held by the search that reads or renews it.
    index: Mutex<Index>,
    running: AtomicUsize,
    /// A reference for each thread that looks for a name, and this one.
    hanging: Arc<()>,
}

/// What is kept from one search to the next.
#[derive(Debug, Default)]
struct Index {
    trees: Trees,
    hashes: Hashes,
}

/// What a search reports, as it goes on.
#[derive(Debug)]
enum Report {
    Found(Inode, Identity, Arc<OwnedFd>, Access),
    Short(Shortfall),
    Unsearched(String),
    /// What was in the way passes.
    Again,
}

/// Where a search reports to. Not one message each: of ten thousand files each would wake whoever
/// waits for all of them.
struct Reports {
    made: Arc<Mutex<Vec<Report>>>,
    /// Places that were told, or left out.
    unsearched: AtomicUsize,
    again: AtomicBool,
    /// Dropped with the search.
    end: oneshot::Sender<()>,
}

/// The other end.
struct Received {
    made: Arc<Mutex<Vec<Report>>>,
    end: oneshot::Receiver<()>,
}

// === impl Reports ===

impl Reports {
    fn channel() -> (Self, Received) {
        let made = Arc::default();
        let (sender, receiver) = oneshot::channel();
        let unsearched = AtomicUsize::new(0);
        (
            Self {
                made: Arc::clone(&made),
                unsearched,
                again: AtomicBool::new(false),
                end: sender,
            },
            Received { made, end: receiver },
        )
    }

    /// A search that is given up needs no reports. Files that a container makes must not become as
    /// many reports: what is told in vain is left out, what is held never is.
    fn send(&self, report: Report) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_too_many = match &report {
            Report::Found(..) => false,
            // Once says it all.
            Report::Again => self.again.swap(true, Ordering::Relaxed),
            Report::Short(_) => made.len() >= MAX_REPORTS,
            Report::Unsearched(_) => {
                self.unsearched.fetch_add(1, Ordering::Relaxed) >= MAX_UNSEARCHED
            }
        };
        if !is_too_many {
            made.push(report);
        }
    }

    fn is_closed(&self) -> bool {
        self.end.is_closed()
    }
}

// === impl Findings ===

impl Findings {
    /// Nothing to hold.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}

// === impl Site ===

impl Site {
    /// The files of this container.
    #[must_use]
    pub fn new(root: Arc<Root>, init: Init, searches: Arc<Searches>) -> Self {
        Self { root, init, searches, until: None }
    }

    /// The same, with no more time than that.
    #[must_use]
    pub fn until(self, until: Instant) -> Self {
        Self { until: Some(until), ..self }
    }

    /// The process whose container it is.
    #[must_use]
    pub fn init(&self) -> &Init {
        &self.init
    }

    /// Searches; what does not come back within [`DEADLINE`] is said to be unknown.
    pub async fn identify(self, wanted: Arc<[Identity]>) -> Findings {
        let (reports, received) = Reports::channel();
        let mut gathered = Gathered::default();
        let deadline = self.deadline(Instant::now());
        match self.start(Arc::clone(&wanted), reports) {
            Ok(()) => gathered.gather(received, deadline).await,
            Err(reason) => {
                gathered.findings.unsearched.push(reason);
                gathered.findings.passing = true;
            }
        }
        gathered.finish(&wanted)
    }

    fn deadline(&self, now: Instant) -> Instant {
        let longest = now + DEADLINE;
        self.until.map_or(longest, |until| until.clamp(now + LEAST, longest))
    }

    fn start(self, wanted: Arc<[Identity]>, reports: Reports) -> Result<(), String> {
        let search = move || search::run(&self, &wanted, &reports);
        let spawned = thread::Builder::new().name("identify".into()).spawn(search);
        spawned.map(drop).map_err(|error| format!("no thread for the search: {error}"))
    }
}

/// One of the searches that a container may have.
struct Slot(Arc<Searches>);

// === impl Slot ===

impl Slot {
    fn take(searches: &Arc<Searches>) -> Option<Self> {
        let slot = Self(Arc::clone(searches));
        (searches.running.fetch_add(1, Ordering::Relaxed) < MAX_SEARCHES).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was reported so far.
#[derive(Default)]
struct Gathered {
    by_inode: BTreeMap<Inode, Found>,
    findings: Findings,
}

// === impl Gathered ===

impl Gathered {
    async fn gather(&mut self, received: Received, deadline: Instant) {
        let Received { made, mut end } = received;
        let started = Instant::now();
        if timeout_at(deadline, &mut end).await.is_err() {
            let late = format!("the search was not done after {:.1?}", started.elapsed());
            self.findings.unsearched.push(late);
            self.findings.passing = true;
        }
        // Whoever waits no longer ends the search.
        drop(end);
        let made = mem::take(&mut *made.lock().unwrap_or_else(PoisonError::into_inner));
        made.into_iter().for_each(|report| self.note(report));
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Found(inode, identity, file, access) => {
                let fresh =
                    Found { inode, identities: BTreeSet::new(), file, access: Access::Free };
                let found = self.by_inode.entry(inode).or_insert(fresh);
                found.identities.insert(identity);
                // What was waited for is told before and after.
                found.access = access;
            }
            Report::Short(shortfall) => self.findings.shortfalls.push(shortfall),
            Report::Unsearched(place) => self.findings.unsearched.push(place),
            Report::Again => self.findings.passing = true,
        }
    }

    /// A name of which nothing was reported did not answer.
    fn finish(mut self, wanted: &[Identity]) -> Findings {
        let found = self.by_inode.values().flat_map(|found| &found.identities);
        let short = self.findings.shortfalls.iter().map(|short| &short.identity);
        let answered: HashSet<_> = found.chain(short).collect();
        let silent: Vec<_> = wanted
            .iter()
            .filter(|identity| identity.is_of_one_name() && !answered.contains(identity))
            .cloned()
            .collect();
        self.findings.shortfalls.extend(silent.into_iter().map(|identity| Shortfall {
            identity,
            reason: ResidueReason::Unreadable,
            detail: "its file system does not answer".into(),
        }));
        self.findings.unsearched.sort_unstable();
        self.findings.unsearched.dedup();
        let is_held_up = |found: &Found| matches!(found.access, Access::Leased | Access::Hangs);
        self.findings.passing |= self.by_inode.values().any(is_held_up);
        self.findings.files.extend(self.by_inode.into_values());
        self.findings
    }
}
