// SPDX-License-Identifier: Apache-2.0
//! The two faces of the console.
//!
//! Owns the one `MultiProgress` of this process and the decision whether it is used: only where
//! standard error is a terminal and `CI` is unset. Writes to standard error itself rather than
//! through `eprintln!`, for the test harness would hold that back until a test has failed.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a plain console hears of a step that still runs: often enough that nobody takes a
/// kernel build for a hang, and that CI systems which end silent jobs do not.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Ten frames a second look alive, and cost nothing.
const FRAME: Duration = Duration::from_millis(100);

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The place of one running step on the console.
#[derive(Debug)]
pub(super) enum Line {
    /// On a terminal.
    Live(ProgressBar),
    /// Anywhere else.
    Plain(Heartbeat),
}

/// A thread that repeats the latest note while the step runs.
#[derive(Debug)]
pub(super) struct Heartbeat {
    note: Arc<Mutex<String>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Prints a line above the running steps.
pub(super) fn print(text: &str) {
    if is_live() {
        BARS.suspend(|| write_line(text));
    } else {
        write_line(text);
    }
}

// === impl Line ===

impl Line {
    pub(super) fn start(title: &str) -> Self {
        if !is_live() {
            write_line(&format!("{title} ..."));
            return Self::Plain(Heartbeat::start(title));
        }
        let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}")
            .expect("the template is a constant and names only known keys");
        let bar = BARS.add(ProgressBar::new_spinner()).with_style(style);
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(FRAME);
        Self::Live(bar)
    }

    pub(super) fn note(&self, text: &str) {
        match self {
            Self::Live(bar) => bar.set_message(text.to_owned()),
            Self::Plain(beat) => text.clone_into(&mut beat.note.lock().expect("no holder panics")),
        }
    }

    pub(super) fn finish(&self, text: &str) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
        print(text);
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    fn start(title: &str) -> Self {
        let (stop, stopped) = channel();
        let note = Arc::new(Mutex::new(String::new()));
        let (title, shared) = (title.to_owned(), Arc::clone(&note));
        let thread = thread::spawn(move || beat(&title, &shared, &stopped));
        Self { note, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        // Closing the channel is the signal.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn beat(title: &str, note: &Mutex<String>, stopped: &Receiver<()>) {
    let started = Instant::now();
    while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
        let note = note.lock().expect("no holder panics");
        write_line(&format!("{title}: {} s so far; {note}", started.elapsed().as_secs()));
    }
}

/// Whether this process uses live lines; decided at their first use.
static LIVE: OnceLock<bool> = OnceLock::new();

/// Decides against live lines.
pub(super) fn be_plain() {
    // Steps that run already keep the face that they have.
    let _ = LIVE.set(false);
}

fn is_live() -> bool {
    *LIVE.get_or_init(|| {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        io::stderr().is_terminal() && std::env::var_os("CI").is_none() && !dumb
    })
}

/// In one piece, for other processes may write to the same pipe. A console that is gone is no
/// reason to stop the work.
fn write_line(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
