// SPDX-License-Identifier: Apache-2.0
//! Follows the policy directory with inotify, on a thread of its own: it blocks on files.
//!
//! A file is read when its writer closes it or it is renamed into place, never in the middle of a
//! write. A mounted ConfigMap changes by a rename of `..data`, and the directory itself may be a
//! symbolic link that is swapped: both make everything be read again.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc as std_mpsc,
    thread,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{
    Batch, Refusal,
    files::{Files, content, is_candidate, read_all},
};

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
    Files(BTreeSet<PathBuf>),
    Everything,
}

struct Follower {
    directory: PathBuf,
    watcher: RecommendedWatcher,
    files: Files,
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
        let (files, reported) = (Files::default(), Vec::new());
        let mut follower = Follower { directory, watcher, files, reported, batches };
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
        read_all(&self.directory, &mut self.files)
            .map_err(|source| WatchError::Read { path: self.directory.clone(), source })
    }

    fn run(mut self, woken: &std_mpsc::Receiver<Wake>) {
        let first = self.files.batch().unwrap_or_default();
        info!(directory = %self.directory.display(), objects = first.changes.len(), "policy directory read");
        let mut sent = self.send(first);
        while sent.is_ok() {
            let Some(task) = self.wait(woken) else { return };
            self.perform(task);
            if let Some(batch) = self.files.batch() {
                sent = self.send(batch);
            }
        }
    }

    /// Blocks for an event and takes all that came with it.
    fn wait(&self, woken: &std_mpsc::Receiver<Wake>) -> Option<Task> {
        let mut task = Task::Nothing;
        let mut wake = woken.recv().ok()?;
        loop {
            match wake {
                Wake::Stop => return None,
                Wake::Event(Ok(event)) => task = task.and(classify(&self.directory, event)),
                Wake::Event(Err(error)) => {
                    warn!(%error, "events of the policy directory were lost, reading all of it");
                    task = Task::Everything;
                }
            }
            match woken.try_recv() {
                Ok(next) => wake = next,
                Err(_) => return Some(task),
            }
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Nothing => {}
            Task::Files(paths) => {
                for path in paths {
                    let content = content(&path);
                    self.files.put(&path, content);
                }
            }
            Task::Everything => {
                // What was read stays in force while the directory is away.
                let path = self.directory.clone();
                let _ = self.watcher.unwatch(&path);
                if let Err(error) = self.arm().and_then(|()| self.read_everything()) {
                    error!(error = &error as &dyn std::error::Error, "policies stay as they are");
                }
            }
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
    let settled = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => true,
        // A file that is opened for writing is complete when it is closed; a link is at once.
        EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => {
            event.paths.iter().any(|path| is_link(path))
        }
        EventKind::Create(CreateKind::Folder) => true,
        _ => false,
    };
    if !settled {
        return Task::Nothing;
    }
    let of_path = |path: PathBuf| {
        let inside = path.parent() == Some(directory);
        if path == directory || (inside && path.file_name().is_some_and(|name| name == "..data")) {
            Task::Everything
        } else if inside && is_candidate(&path) {
            Task::Files(BTreeSet::from([path]))
        } else {
            Task::Nothing
        }
    };
    event.paths.into_iter().map(of_path).fold(Task::Nothing, Task::and)
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
}

#[cfg(test)]
mod tests;
