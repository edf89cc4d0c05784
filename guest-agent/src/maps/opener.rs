// SPDX-License-Identifier: Apache-2.0
//! Opens files of containers on a thread that may hang, so that its owner does not.
//!
//! `file_open` runs before the file system is asked: what the kernel records is recorded even if the
//! open does not come back.

use std::{
    fs::File,
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

/// For one open: a disk answers in milliseconds, a host that swaps in tens of them.
const DEADLINE: Duration = Duration::from_millis(500);

/// For all opens of one set that hang: the gate's deadline has room for it behind the search.
pub(crate) const HANGING: Duration = DEADLINE;

/// Threads that hang before no more are started, of all containers.
const MAX_HANGING: usize = 8;

/// Whoever opens.
#[derive(Debug, Default)]
pub(super) struct Opener {
    worker: Option<Worker>,
    /// How long opens of this set have hung.
    hung: Duration,
    /// One reference for each thread, and this one.
    threads: Arc<()>,
}

#[derive(Debug)]
struct Worker {
    thread: u32,
    jobs: Sender<Arc<OwnedFd>>,
    done: Receiver<io::Result<()>>,
}

// === impl Opener ===

impl Opener {
    /// The opens to come are another set's.
    pub(super) fn begin(&mut self) {
        self.hung = Duration::ZERO;
    }

    /// Number of the thread that opens next.
    pub(super) fn thread(&mut self) -> io::Result<u32> {
        if let Some(worker) = &self.worker {
            return Ok(worker.thread);
        }
        if self.hung >= HANGING {
            return Err(io::Error::other(format!("opens have hung for {HANGING:?} already")));
        }
        if Arc::strong_count(&self.threads) > MAX_HANGING {
            return Err(io::Error::other(format!("{MAX_HANGING} opens have not come back")));
        }
        let worker = Worker::start(Arc::clone(&self.threads))?;
        Ok(self.worker.insert(worker).thread)
    }

    /// Opens an inode for reading, and closes it.
    pub(super) fn open(&mut self, file: &Arc<OwnedFd>) -> io::Result<()> {
        self.thread()?;
        let gone = || io::Error::other("the thread that opens is gone");
        let worker = self.worker.take().ok_or_else(gone)?;
        worker.jobs.send(Arc::clone(file)).map_err(|_| gone())?;
        match worker.done.recv_timeout(DEADLINE) {
            Ok(opened) => {
                self.worker = Some(worker);
                opened
            }
            // The thread ends when it comes back: nobody sends to it any more.
            Err(RecvTimeoutError::Timeout) => {
                self.hung += DEADLINE;
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

// === impl Worker ===

impl Worker {
    fn start(alive: Arc<()>) -> io::Result<Self> {
        let (jobs, files) = mpsc::channel::<Arc<OwnedFd>>();
        let (opened, done) = mpsc::channel();
        let (own, thread) = mpsc::channel();
        thread::Builder::new().name("open".into()).spawn(move || {
            let _alive = alive;
            if own.send(gettid().as_raw().cast_unsigned()).is_err() {
                return;
            }
            while let Ok(file) = files.recv() {
                let result = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
                if opened.send(result.map(drop)).is_err() {
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
    use std::time::Instant;

    use rustix::fs::{CWD, Mode, OFlags, mkfifoat, openat};

    use super::*;

    fn handle(path: &std::path::Path) -> Arc<OwnedFd> {
        Arc::new(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap())
    }

    #[test]
    fn an_open_that_hangs_is_left_behind_and_the_next_one_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let (fifo, file) = (directory.path().join("fifo"), directory.path().join("file"));
        mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
        std::fs::write(&file, "x").unwrap();
        let mut opener = Opener::default();
        let first = opener.thread().unwrap();
        opener.open(&handle(&file)).unwrap();
        assert_eq!(opener.thread().unwrap(), first);

        let started = Instant::now();
        let error = opener.open(&handle(&fifo)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < DEADLINE * 4);
        let started = Instant::now();
        assert!(opener.open(&handle(&file)).unwrap_err().to_string().contains("already"));
        assert!(started.elapsed() < DEADLINE, "a set has no more time for opens that hang");
        opener.begin();
        opener.open(&handle(&file)).unwrap();
        assert_ne!(opener.thread().unwrap(), first);
    }

    #[test]
    fn opens_that_hang_do_not_take_all_threads() {
        let mut opener = Opener::default();
        let hanging: Vec<_> = (0..MAX_HANGING).map(|_| Arc::clone(&opener.threads)).collect();
        assert!(opener.thread().unwrap_err().to_string().contains("have not come back"));
        drop(hanging);
        assert!(opener.thread().is_ok());
    }
}
