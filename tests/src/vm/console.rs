// SPDX-License-Identifier: Apache-2.0
//! The serial console of a VM: a thread reads what QEMU prints, keeps the latest part in memory and
//! all of it, up to a cap, in a file. Others wait here for a line, ask for the tail, or whether the
//! kernel has complained.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use self::complaint::is_complaint;

mod complaint;

/// A verbose boot prints about 60 KiB; a guest that writes more than this is looping.
const FILE_CAP: u64 = 16 << 20;

/// Kept in memory for waiting and for error messages.
const MEMORY_CAP: usize = 1 << 20;

/// Of a complaint and what follows it: an oops with its registers and call trace.
const COMPLAINT_LINES: usize = 60;

/// The console of one VM.
#[derive(Debug, Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The latest part of what was printed, ...
    text: Vec<u8>,
    /// ... and how many bytes came before it.
    dropped: usize,
    closed: bool,
    /// What the kernel has complained of and nobody was told yet.
    complaint: Vec<String>,
    /// Up to where complaints were looked for, counted from the first byte ever printed.
    judged: usize,
}

// === impl Console ===

impl Console {
    /// Reads `serial` to its end in a thread.
    pub(crate) fn follow(serial: impl Read + Send + 'static, file: &Path) -> Result<Self> {
        let file = File::create(file).with_context(|| format!("create {}", file.display()))?;
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        thread::spawn(move || reader.read(serial, file));
        Ok(Self { shared })
    }

    /// What the guest printed, or the last mebibyte of it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().text).into_owned()
    }

    /// The last `lines` lines.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits for a line that contains `mark`, also among those printed already. `None` if the
    /// deadline passes or the console closes before.
    #[must_use]
    pub fn wait_for(&self, mark: &str, deadline: Instant) -> Option<String> {
        self.wait_for_any(&[mark], deadline)
    }

    /// Waits for a line that contains one of `marks`, as [`Console::wait_for`].
    #[must_use]
    pub fn wait_for_any(&self, marks: &[&str], deadline: Instant) -> Option<String> {
        let mut state = self.shared.lock();
        let mut seen = 0;
        loop {
            if let Some(line) = state.find_line(marks, &mut seen) {
                return Some(line);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Console {
    /// What the kernel has complained of since this was asked last, with the lines that followed.
    pub(crate) fn take_complaint(&self) -> Option<String> {
        let complaint = std::mem::take(&mut self.shared.lock().complaint);
        (!complaint.is_empty()).then(|| complaint.join("\n"))
    }

    /// Waits until all is read that was printed by a machine that has ended.
    pub(crate) fn wait_for_end(&self, deadline: Instant) {
        let mut state = self.shared.lock();
        while !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut serial: impl Read, mut file: File) {
        let mut chunk = [0; 4096];
        let mut kept = 0;
        while let Ok(read @ 1..) = serial.read(&mut chunk) {
            if kept < FILE_CAP {
                kept += read as u64;
                // The log is a convenience: a full disk must not stop the VM.
                let _ = file.write_all(&chunk[..read]);
            }
            self.lock().push(&chunk[..read]);
            self.changed.notify_all();
        }
        let mut state = self.lock();
        if !state.text.ends_with(b"\n") {
            // What came last is a line too.
            state.push(b"\n");
        }
        state.closed = true;
        drop(state);
        self.changed.notify_all();
    }
}

// === impl State ===

impl State {
    fn push(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.judge();
        // In large steps, so that a chatty guest doesn't cost a move per line.
        if self.text.len() > 2 * MEMORY_CAP {
            let old = self.text.len() - MEMORY_CAP;
            self.text.drain(..old);
            self.dropped += old;
        }
    }

    /// Looks for complaints in the complete lines that are new.
    fn judge(&mut self) {
        let new = &self.text[self.judged.saturating_sub(self.dropped)..];
        let end = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in String::from_utf8_lossy(&new[..end]).lines().map(str::trim_end) {
            let is_more = (1..COMPLAINT_LINES).contains(&self.complaint.len());
            if is_more || self.complaint.is_empty() && is_complaint(line) {
                self.complaint.push(line.to_owned());
            }
        }
        self.judged += end;
    }

    /// The first complete line that contains one of `marks`, among those that begin at or after
    /// `seen`, counted from the first byte ever printed. Moves `seen` behind what was looked at.
    fn find_line(&self, marks: &[&str], seen: &mut usize) -> Option<String> {
        let new = &self.text[seen.saturating_sub(self.dropped)..];
        let end = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        *seen = (*seen).max(self.dropped) + end;
        let text = String::from_utf8_lossy(&new[..end]);
        let mut lines = text.lines().map(str::trim_end);
        lines.find(|line| marks.iter().any(|mark| line.contains(mark))).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_once_it_is_complete() {
        let (mut state, mut seen) = (State::default(), 0);
        state.push(b"one\nrea");
        assert_eq!(state.find_line(&["rea"], &mut seen), None);
        state.push(b"dy now\r\nrest");
        assert_eq!(state.find_line(&["ready"], &mut seen).as_deref(), Some("ready now"));
        assert_eq!(state.find_line(&["ready"], &mut seen), None, "seen already");
    }

    #[test]
    fn memory_is_bounded_and_nothing_new_is_missed() {
        let (mut state, mut seen) = (State::default(), 0);
        for _ in 0..5 {
            state.push(&vec![b'\n'; MEMORY_CAP]);
            assert_eq!(state.find_line(&["mark"], &mut seen), None);
        }
        assert!(state.text.len() <= 2 * MEMORY_CAP);
        state.push(b"mark\n");
        assert!(state.find_line(&["mark"], &mut seen).is_some());
    }

    #[test]
    fn a_complaint_is_told_once_with_what_follows_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let serial = include_bytes!("console/recorded/oops.txt");
        let console = Console::follow(&serial[..], file.path()).unwrap();
        console.wait_for_end(Instant::now() + std::time::Duration::from_secs(60));
        let complaint = console.take_complaint().unwrap();
        assert!(complaint.starts_with('['), "{complaint}");
        assert!(complaint.contains("BUG: kernel NULL pointer dereference"), "{complaint}");
        assert!(complaint.contains("Call Trace:"), "{complaint}");
        assert_eq!(console.take_complaint(), None);
    }

    #[test]
    fn a_complaint_in_pieces_is_found_and_one_without_an_end_too() {
        let mut state = State::default();
        for piece in [&b"fine\n[    1.000001] WARN"[..], b"ING: CPU: 0", b" PID: 1\nand more"] {
            assert_eq!(state.complaint, [""; 0]);
            state.push(piece);
        }
        assert_eq!(state.complaint, ["[    1.000001] WARNING: CPU: 0 PID: 1"]);

        let file = tempfile::NamedTempFile::new().unwrap();
        let console = Console::follow(&b"[    2.000001] Oops"[..], file.path()).unwrap();
        console.wait_for_end(Instant::now() + std::time::Duration::from_secs(60));
        assert_eq!(console.take_complaint().as_deref(), Some("[    2.000001] Oops"));
    }

    #[test]
    fn waiting_ends_when_the_console_closes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let console = Console::follow(&b"hello\nbye\n"[..], file.path()).unwrap();
        let far = Instant::now() + std::time::Duration::from_secs(60);
        assert_eq!(console.wait_for("bye", far).as_deref(), Some("bye"));
        assert_eq!(console.wait_for("never", far), None);
        assert_eq!(console.tail(1), "bye");
        assert_eq!(std::fs::read(file.path()).unwrap(), b"hello\nbye\n");
    }
}
