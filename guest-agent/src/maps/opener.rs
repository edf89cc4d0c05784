// SPDX-License-Identifier: Apache-2.0
//! Opens files of containers on a thread that may hang, so that its owner does not.
//!
//! `file_open` runs before the file system is asked, and before the kernel waits for a lease or for
//! leave (fanotify): what it records is recorded even if the open does not come back.
//! <https://github.com/torvalds/linux/blob/v6.12/fs/open.c#L937-L955>

use std::{
    collections::HashMap,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use nix::unistd::gettid;
use rustix::fs::{Mode, OFlags};

/// For one open: a disk answers in milliseconds, a host that swaps in tens of them.
const DEADLINE: Duration = Duration::from_millis(250);

/// For one that is known to hang, and for those after one that did: the kernel records what does not
/// hang in this time, and what does at once or not at all.
const SHORT_DEADLINE: Duration = Duration::from_millis(15);

/// For all opens of one set that hang: the gate's deadline has room for it behind the search.
pub(crate) const HANGING: Duration =
    DEADLINE.saturating_add(SHORT_DEADLINE.saturating_mul(MAX_HANGING));

/// Opens of one container that may hang before no more are tried.
const MAX_HANGING: u32 = 16;

/// Opens one file after the other.
#[derive(Debug)]
pub(super) struct Opener {
    how: How,
    worker: Option<Worker>,
    /// How long opens of this set have hung.
    hung: Duration,
    /// By container: a reference for each open that has not come back, and this one.
    hanging: HashMap<u32, Arc<()>>,
}

#[derive(Debug)]
struct Worker {
    thread: u32,
    jobs: Sender<Job>,
    done: Receiver<io::Result<()>>,
}

/// How a file is opened, and closed.
type How = fn(&OwnedFd) -> io::Result<()>;

/// A file to open, and what counts the open.
type Job = (Arc<OwnedFd>, Arc<()>);

/// For reading, without waiting for a lease.
fn open_at_once(file: &OwnedFd) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty()).map(drop)?)
}

// === impl Opener ===

impl Default for Opener {
    fn default() -> Self {
        Self { how: open_at_once, worker: None, hung: Duration::ZERO, hanging: HashMap::new() }
    }
}

impl Opener {
    /// The opens to come are another set's.
    pub(super) fn begin(&mut self) {
        self.hung = Duration::ZERO;
    }

    /// Number of the thread that opens the next file of this container.
    pub(super) fn thread(&mut self, container: u32) -> io::Result<u32> {
        let hanging = self.hanging.get(&container).map_or(0, |it| Arc::strong_count(it) - 1);
        if hanging >= MAX_HANGING as usize {
            return Err(io::Error::other(format!("{hanging} opens have not come back")));
        }
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(self.how)?,
        };
        Ok(self.worker.insert(worker).thread)
    }

    /// Opens an inode of a container, and closes it.
    pub(super) fn open(
        &mut self,
        container: u32,
        file: &Arc<OwnedFd>,
        hangs: bool,
    ) -> io::Result<()> {
        self.thread(container)?;
        let gone = || io::Error::other("the thread that opens is gone");
        let worker = self.worker.take().ok_or_else(gone)?;
        let counted = Arc::clone(self.hanging.entry(container).or_default());
        worker.jobs.send((Arc::clone(file), counted)).map_err(|_| gone())?;
        let is_short = hangs || self.hung >= DEADLINE;
        let deadline = if is_short { SHORT_DEADLINE } else { DEADLINE };
        match worker.done.recv_timeout(deadline) {
            Ok(opened) => {
                self.worker = Some(worker);
                opened
            }
            // The thread ends when it comes back: nothing is sent to it any more.
            Err(RecvTimeoutError::Timeout) => {
                self.hung += deadline;
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    /// The container is gone, and its opens will not come back.
    pub(super) fn forget(&mut self, container: u32) {
        self.hanging.remove(&container);
    }
}

// === impl Worker ===

impl Worker {
    fn start(how: How) -> io::Result<Self> {
        let (jobs, files) = mpsc::channel::<Job>();
        let (opened, done) = mpsc::channel();
        let (own, thread) = mpsc::channel();
        thread::Builder::new().name("open".into()).spawn(move || {
            if own.send(gettid().as_raw().cast_unsigned()).is_err() {
                return;
            }
            while let Ok((file, counted)) = files.recv() {
                let result = how(&file);
                drop(counted);
                if opened.send(result).is_err() {
                    return;
                }
            }
        })?;
        let thread = thread.recv().map_err(|_| io::Error::other("a thread did not start"))?;
        Ok(Self { thread, jobs, done })
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, OFlags, mkfifoat, openat};

    use super::*;

    fn handle(path: &std::path::Path) -> Arc<OwnedFd> {
        Arc::new(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap())
    }

    fn patiently(file: &OwnedFd) -> io::Result<()> {
        std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map(drop)
    }

    #[test]
    fn an_open_that_hangs_is_left_behind_and_the_next_one_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let (fifo, file) = (directory.path().join("fifo"), directory.path().join("file"));
        mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
        std::fs::write(&file, "x").unwrap();
        let mut opener = Opener { how: patiently, ..Opener::default() };
        let first = opener.thread(1).unwrap();
        opener.open(1, &handle(&file), false).unwrap();
        assert_eq!(opener.thread(1).unwrap(), first);

        let error = opener.open(1, &handle(&fifo), false).unwrap_err();
        assert_eq!((error.kind(), opener.hung), (io::ErrorKind::TimedOut, DEADLINE));
        // A set has less time for what hangs behind another that did.
        opener.open(1, &handle(&fifo), false).unwrap_err();
        assert_eq!(opener.hung, DEADLINE + SHORT_DEADLINE);
        opener.begin();
        assert_eq!(opener.hung, Duration::ZERO);
        opener.open(1, &handle(&file), false).unwrap();
        assert_ne!(opener.thread(1).unwrap(), first);
    }

    #[test]
    fn opens_of_one_container_that_hang_keep_no_other_from_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (fifo, file) = (directory.path().join("fifo"), directory.path().join("file"));
        mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
        std::fs::write(&file, "x").unwrap();
        let mut opener = Opener { how: patiently, ..Opener::default() };
        for _ in 0..MAX_HANGING {
            opener.open(1, &handle(&fifo), true).unwrap_err();
        }
        assert!(opener.thread(1).unwrap_err().to_string().contains("have not come back"));
        opener.open(2, &handle(&file), false).unwrap();
        opener.forget(1);
        opener.open(1, &handle(&file), false).unwrap();
    }
}
