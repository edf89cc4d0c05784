// SPDX-License-Identifier: Apache-2.0
//! Where lines are written, on a thread of its own: it blocks on a pipe or a disk.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    thread,
};

use tokio::sync::{mpsc, oneshot};
use tracing::error;

/// Lines that may wait for the writer; then sessions wait.
const QUEUE: usize = 1024;

/// A writer of lines.
#[derive(Debug)]
pub struct Sink {
    /// Takes lines.
    pub lines: mpsc::Sender<String>,
    /// Resolves when everything is written, after all senders are gone.
    pub drained: oneshot::Receiver<()>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file.
    #[error("cannot open {path} for events")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread.
    #[error("cannot start the thread that writes events")]
    Thread(#[source] io::Error),
}

// === impl Sink ===

impl Sink {
    /// Writes to standard output.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn stdout() -> Result<Self, SinkError> {
        Self::over(io::stdout())
    }

    /// Appends to a file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn file(path: &Path) -> Result<Self, SinkError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self::over(file.map_err(|source| SinkError::Open { path: path.into(), source })?)
    }

    fn over(output: impl Write + Send + 'static) -> Result<Self, SinkError> {
        let (lines, queue) = mpsc::channel(QUEUE);
        let (done, drained) = oneshot::channel();
        thread::Builder::new()
            .name("events".into())
            .spawn(move || {
                write(queue, BufWriter::new(output));
                // Nobody waits if the relay stops without draining.
                let _ = done.send(());
            })
            .map_err(SinkError::Thread)?;
        Ok(Self { lines, drained })
    }
}

/// Writes until all senders are gone, and flushes whenever nothing waits.
fn write(mut queue: mpsc::Receiver<String>, mut output: impl Write) {
    let mut lost = 0u64;
    while let Some(line) = queue.blocking_recv() {
        let mut written = writeln!(output, "{line}");
        if queue.is_empty() {
            written = written.and_then(|()| output.flush());
        }
        if let Err(error) = written {
            if lost == 0 {
                error!(%error, "events cannot be written; enforcement goes on without them");
            }
            lost += 1;
        }
    }
    if lost > 0 {
        error!(lost, "events were not written");
    }
}
