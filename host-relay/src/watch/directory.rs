// SPDX-License-Identifier: Apache-2.0
//! Follows the policy directory with inotify, on a thread of its own: it blocks on files.
//!
//! A file is read when its writer closes it or it is renamed into place, never in the middle of a
//! write: one that is opened anew says what it said before, even if it was away for a moment, as when
//! editors rename it away and tools of version control unlink it. A mounted ConfigMap changes by a rename of `..data`, and the directory itself may be a
//! symbolic link that is swapped: both make everything be read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc as std_mpsc,
    thread,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{
    Batch, Refusal,
    files::{Content, Files, content, is_candidate, read_all},
};

/// What changes so soon after it was read was in the middle of a change: the kernel queues an event
/// before the write returns, and the watcher's thread needs some 0.1 ms to bring it.
const CLOSE: Duration = Duration::from_millis(2);

/// So long events that follow each other closely are waited for.
const MAX_FOLLOWED: Duration = Duration::from_millis(50);

/// A directory that is followed until this is dropped.
#[derive(Debug)]
pub struct PolicyDir {
    wakes: std_mpsc::Sender<Wake>,
}

/// Why a directory cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It cannot be listed.
    #[error("cannot read the policy directory {path}")]
    Read {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be watched.
    #[error("cannot watch the policy directory {path}")]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
    /// There is no thread for it.
    #[error("cannot start the thread that follows the policy directory")]
    Thread(#[source] io::Error),
}

#[derive(Debug)]
enum Wake {
    Event(notify::Result<Event>),
    Stop,
}

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Nothing,
    /// The last that was seen of each file.
    Files(BTreeMap<PathBuf, Seen>),
    Everything,
}

/// What was seen of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It is there as a whole.
    Complete,
    /// It is being written.
    Open,
    /// It is not there.
    Absent,
}

struct Follower {
    directory: PathBuf,
    watcher: RecommendedWatcher,
    files: Files,
    /// Files that are being written.
    open: BTreeSet<PathBuf>,
    /// What was read and is not taken yet.
    read: BTreeMap<PathBuf, Content>,
    /// Refusals that are in the log already.
    reported: Vec<Refusal>,
    batches: mpsc::Sender<Batch>,
}

// === impl PolicyDir ===

impl PolicyDir {
    /// Reads the directory and follows it. The first batch has everything, even if that is nothing.
    ///
    /// # Errors
    /// If it cannot be read or watched now.
    pub fn follow(directory: &Path, batches: mpsc::Sender<Batch>) -> Result<Self, WatchError> {
        let (wakes, woken) = std_mpsc::channel();
        let sender = wakes.clone();
        let failed = |source| WatchError::Watch { path: directory.into(), source };
        let watcher = notify::recommended_watcher(move |event| {
            // The follower is gone only while everything stops.
            let _ = sender.send(Wake::Event(event));
        })
        .map_err(failed)?;
        // Listed at once, for an error in the words of the file system.
        let directory = fs::read_dir(directory)
            .and_then(|_| std::path::absolute(directory))
            .map_err(|source| WatchError::Read { path: directory.into(), source })?;
        let mut follower = Follower {
            directory,
            watcher,
            files: Files::default(),
            open: BTreeSet::new(),
            read: BTreeMap::new(),
            reported: Vec::new(),
            batches,
        };
        follower.arm()?;
        follower.read_everything()?;
        thread::Builder::new()
            .name("policy-dir".into())
            .spawn(move || follower.run(&woken))
            .map_err(WatchError::Thread)?;
        Ok(Self { wakes })
    }
}

impl Drop for PolicyDir {
    fn drop(&mut self) {
        // It may have ended already, with the receiver of its batches.
        let _ = self.wakes.send(Wake::Stop);
    }
}

// === impl Follower ===

impl Follower {
    /// Watches the directory, and its parent for the day when it is replaced.
    fn arm(&mut self) -> Result<(), WatchError> {
        let directories = [self.directory.parent(), Some(&self.directory)];
        for directory in directories.into_iter().flatten() {
            self.watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .map_err(|source| WatchError::Watch { path: directory.into(), source })?;
        }
        Ok(())
    }

    fn read_everything(&mut self) -> Result<(), WatchError> {
        read_all(&self.directory, &mut self.files, &self.open)
            .map_err(|source| WatchError::Read { path: self.directory.clone(), source })
    }

    fn run(mut self, woken: &std_mpsc::Receiver<Wake>) {
        let first = self.files.batch().unwrap_or_default();
        info!(directory = %self.directory.display(), objects = first.changes.len(), "policy directory read");
        let mut sent = self.send(first);
        while sent.is_ok() {
            let Ok(wake) = woken.recv() else { return };
            if self.take(wake, woken).is_none() {
                return;
            }
            if let Some(batch) = self.files.batch() {
                sent = self.send(batch);
            }
        }
    }

    /// Takes an event and what follows closely. A file that changes while it is read is not taken.
    /// None to stop.
    fn take(&mut self, first: Wake, woken: &std_mpsc::Receiver<Wake>) -> Option<()> {
        let (end, mut next) = (Instant::now() + MAX_FOLLOWED, Some(first));
        while let Some(wake) = next {
            let task = self.drain(wake, woken)?;
            self.perform(task);
            next = if Instant::now() < end { woken.recv_timeout(CLOSE).ok() } else { None };
        }
        for (path, content) in std::mem::take(&mut self.read) {
            self.files.put(&path, content);
        }
        Some(())
    }

    /// All that is known already; none to stop.
    fn drain(&self, first: Wake, woken: &std_mpsc::Receiver<Wake>) -> Option<Task> {
        let (mut task, mut next) = (Task::Nothing, Some(first));
        while let Some(wake) = next {
            match wake {
                Wake::Stop => return None,
                Wake::Event(Ok(event)) => task = task.and(classify(&self.directory, event)),
                Wake::Event(Err(error)) => {
                    warn!(%error, "events of the policy directory were lost, reading all of it");
                    task = Task::Everything;
                }
            }
            next = woken.try_recv().ok();
        }
        Some(task)
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Nothing => {}
            Task::Files(paths) => {
                for (path, seen) in paths {
                    self.see(path, seen);
                }
            }
            Task::Everything => {
                self.read.clear();
                // Those of another directory are complete, or tell when they are.
                self.open.clear();
                // What was read stays in force while the directory is away.
                let path = self.directory.clone();
                let _ = self.watcher.unwatch(&path);
                if let Err(error) = self.arm().and_then(|()| self.read_everything()) {
                    error!(error = &error as &dyn std::error::Error, "policies stay as they are");
                }
            }
        }
    }

    fn see(&mut self, path: PathBuf, seen: Seen) {
        self.read.remove(&path);
        self.open.remove(&path);
        match seen {
            Seen::Complete => match content(&path) {
                Ok(None) => self.files.vanish(&path, Instant::now()),
                content => drop(self.read.insert(path, content)),
            },
            Seen::Open => {
                self.files.reappear(&path, Instant::now());
                self.open.insert(path);
            }
            Seen::Absent => self.files.vanish(&path, Instant::now()),
        }
    }

    fn send(&mut self, batch: Batch) -> Result<(), mpsc::error::SendError<Batch>> {
        for refusal in batch.refusals.iter().filter(|refusal| !self.reported.contains(refusal)) {
            error!("{refusal}");
        }
        self.reported.clone_from(&batch.refusals);
        self.batches.blocking_send(batch)
    }
}

// === impl Task ===

impl Task {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::Nothing, task) | (task, Self::Nothing) => task,
            (Self::Files(mut paths), Self::Files(more)) => {
                paths.extend(more);
                Self::Files(paths)
            }
        }
    }
}

fn classify(directory: &Path, event: Event) -> Task {
    if event.need_rescan() {
        return Task::Everything;
    }
    let is_both = matches!(event.kind, EventKind::Modify(ModifyKind::Name(RenameMode::Both)));
    let tasks = event.paths.into_iter().enumerate().map(|(at, path)| {
        let seen = match event.kind {
            // Its old name comes first.
            EventKind::Modify(ModifyKind::Name(_)) if is_both && at == 0 => Seen::Absent,
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
                Seen::Absent
            }
            EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Create(CreateKind::Folder) => Seen::Complete,
            // A file that is opened for writing is complete when it is closed; a link is at once.
            EventKind::Create(_) if is_link(&path) => Seen::Complete,
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                Seen::Open
            }
            _ => return Task::Nothing,
        };
        of_path(directory, path, seen)
    });
    tasks.fold(Task::Nothing, Task::and)
}

fn of_path(directory: &Path, path: PathBuf, seen: Seen) -> Task {
    let inside = path.parent() == Some(directory);
    let is_swap =
        path == directory || (inside && path.file_name().is_some_and(|it| it == "..data"));
    match seen {
        // Of a directory this only tells that something in it changes.
        Seen::Open if is_swap => Task::Nothing,
        _ if is_swap => Task::Everything,
        _ if inside && is_candidate(&path) => Task::Files(BTreeMap::from([(path, seen)])),
        _ => Task::Nothing,
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
}

#[cfg(test)]
mod tests;
