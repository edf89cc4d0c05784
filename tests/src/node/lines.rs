// SPDX-License-Identifier: Apache-2.0
//! Lines that a process prints: a thread keeps them, in memory and in a file, and others wait here
//! for one.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use super::PATIENCE;
use crate::patience::patient;

/// Shown when a line does not come.
const TAIL: usize = 12;

/// The lines of one stream.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

// === impl Lines ===

impl Lines {
    /// Reads `stream` to its end in a thread.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub(super) fn follow(stream: impl Read + Send + 'static, file: &Path) -> Result<Self> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(file)
            .with_context(|| format!("open {}", file.display()))?;
        let shared = Arc::new(Shared::default());
        let keep = Arc::clone(&shared);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                // The copy is for people; a full disk must not end the test.
                let _ = writeln!(file, "{line}");
                keep.lock().push(line);
                keep.more.notify_all();
            }
        });
        Ok(Self(shared))
    }

    /// All lines so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// The first line that is accepted, now or within a minute.
    ///
    /// # Errors
    /// If none comes; the error shows the last ones that came.
    pub fn wait(&self, what: &str, accept: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + patient(PATIENCE);
        let mut lines = self.0.lock();
        loop {
            if let Some(line) = lines.iter().find(|line| accept(line)) {
                return Ok(line.clone());
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                let tail: Vec<_> = lines.iter().rev().take(TAIL).rev().cloned().collect();
                bail!("{what} does not come; the last lines:\n{}", tail.join("\n"));
            };
            lines = self.0.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
