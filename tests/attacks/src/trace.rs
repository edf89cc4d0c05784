// SPDX-License-Identifier: Apache-2.0
//! What a way says while it is gone: each step before it is made, what has to be put back, and why
//! it stopped. A process that may be replaced or killed at any step tells all this through a pipe.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::undo::Undo;

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// This step is made next.
    Step(String),
    /// This has to be put back.
    Undo(Undo),
    /// The way ends here.
    Stop(Cause),
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// The kernel gave an error number.
    Errno(i32),
    /// A signal ended the program.
    Signal(i32),
    /// Anything else.
    Other(String),
}

/// Where notes go.
#[derive(Debug)]
pub(crate) enum Trace {
    /// To the process that waits.
    Pipe(RefCell<File>),
    /// To this process itself.
    Memory(RefCell<Vec<Note>>),
}

// === impl Trace ===

impl Trace {
    /// Makes a step, which it announces first.
    pub(crate) fn step<T, E: Into<io::Error>>(
        &self,
        name: &str,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Cause> {
        self.announce(name);
        act().map_err(|error| Cause::from(error.into()))
    }

    /// Announces a step.
    pub(crate) fn announce(&self, name: &str) {
        self.note(Note::Step(name.into()));
    }

    /// Says what has to be put back.
    pub(crate) fn undo(&self, undo: Undo) {
        self.note(Note::Undo(undo));
    }

    /// Adds a note.
    pub(crate) fn note(&self, note: Note) {
        match self {
            Self::Memory(notes) => notes.borrow_mut().push(note),
            Self::Pipe(pipe) => {
                let line = serde_json::to_string(&note).expect("notes hold texts and numbers only");
                // Fails only if the driver is gone, and then nobody asks.
                let _ = writeln!(pipe.borrow_mut(), "{line}");
            }
        }
    }
}

// === impl Cause ===

impl Cause {
    /// Whether the kernel says by it that something is not permitted. A signal says so only where the
    /// way expects it: a fault of the kernel's ends a process too.
    pub(crate) fn is_denial(&self, dies: Option<i32>) -> bool {
        match self {
            Self::Errno(errno) => [Errno::EACCES, Errno::EPERM].map(|it| it as i32).contains(errno),
            Self::Signal(signal) => dies == Some(*signal),
            Self::Other(_) => false,
        }
    }

    /// For people, by the names that they know.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Errno(errno) => format!("{:?}", Errno::from_raw(*errno)),
            Self::Signal(signal) => {
                Signal::try_from(*signal).map_or(format!("signal {signal}"), |it| it.to_string())
            }
            Self::Other(text) => text.clone(),
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        error.raw_os_error().map_or_else(|| Self::Other(error.to_string()), Self::Errno)
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_said_before_it_is_made_and_fails_with_its_number() {
        let trace = Trace::Memory(RefCell::default());
        let cause = trace.step("rename", || Err::<(), _>(Errno::EXDEV)).unwrap_err();
        assert_eq!((cause.is_denial(None), cause.reason()), (false, "EXDEV".into()));
        let denied = |errno| Cause::from(errno).is_denial(None);
        assert!(denied(Errno::EACCES) && denied(Errno::EPERM));
        let Trace::Memory(notes) = trace else { unreachable!("made above") };
        assert_eq!(notes.into_inner(), [Note::Step("rename".into())]);
    }

    #[test]
    fn a_signal_is_a_denial_only_where_the_way_expects_it() {
        let denials = |dies: Option<Signal>| {
            [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGILL]
                .map(|signal| Cause::Signal(signal as i32).is_denial(dies.map(|it| it as i32)))
        };
        assert_eq!(denials(None), [false; 3]);
        assert_eq!(denials(Some(Signal::SIGSEGV)), [false, true, false]);
        assert!(!Cause::Other("Permission denied".into()).is_denial(None));
    }
}
