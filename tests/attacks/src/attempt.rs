// SPDX-License-Identifier: Apache-2.0
//! One way, gone by a process of its own, and what came of it.
//!
//! The process may be replaced by the target, be killed, or jump into the target's code. So its
//! standard output is a pipe, where the target's mark is looked for, and another pipe carries its
//! notes. First phases are gone by the driver itself: what they hold must live through the pause.

use std::cell::RefCell;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use attacks::catalogue::Entry;
use attacks::report::{Outcome, Report, Stop};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setpgid};

use crate::args::SceneArgs;
use crate::scene::Scene;
use crate::trace::{Cause, Note, Trace};
use crate::undo::{self, Undo};
use crate::ways::{self, Way};

/// A way takes milliseconds; a busy machine without KVM is a hundred times slower.
const LIMIT: Duration = Duration::from_secs(20);

/// The process went to the end of the way and nothing ran.
const NO_MARK: i32 = 0;

/// The process said why it stopped.
const STOPPED: i32 = 1;

/// A way whose first phase is over.
#[derive(Debug)]
pub(crate) struct Prepared {
    entry: &'static Entry,
    scene: Scene,
    way: Way,
    notes: Vec<Note>,
    failed: Option<Cause>,
}

/// What was read from the process.
#[derive(Debug, Default)]
struct Heard {
    output: Vec<u8>,
    notes: Vec<u8>,
    timed_out: bool,
}

// === impl Prepared ===

impl Prepared {
    /// Makes the way's directory and goes its first phase, if it has one.
    pub(crate) fn new(image: &SceneArgs, entry: &'static Entry) -> Self {
        let way = ways::find(entry);
        let mut scene = Scene::of(entry, image);
        let trace = Trace::Memory(RefCell::default());
        let begun = trace
            .step("make the way's directory", || fs::create_dir(&scene.directory))
            .and_then(|()| way.first.map_or(Ok(()), |first| first(&mut scene, &trace)));
        let Trace::Memory(notes) = trace else { unreachable!("made above") };
        Self { entry, scene, way, notes: notes.into_inner(), failed: begun.err() }
    }

    /// Whether there is something to wait for.
    pub(crate) fn has_begun(&self) -> bool {
        self.way.first.is_some() && self.failed.is_none()
    }

    /// Goes the rest and puts things back.
    pub(crate) fn go(mut self) -> Report {
        let ended = match self.failed.take() {
            Some(cause) => Ok(Err(cause)),
            None => self.attempt(),
        };
        let result = ended.unwrap_or_else(|error| Err(Cause::from(error)));
        let mut steps = Vec::new();
        let mut undos = Vec::<Undo>::new();
        for note in self.notes {
            match note {
                Note::Step(step) => steps.push(step),
                Note::Undo(undo) => undos.push(undo),
                Note::Stop(_) => {}
            }
        }
        let left = undo::all(&undos, &self.scene.directory);
        let step = steps.last().cloned().unwrap_or_default();
        let outcome = match result {
            Ok(()) => Outcome::Ran,
            Err(cause) => {
                let stop = Stop { step, reason: cause.reason() };
                if cause.is_denial(self.entry.dies) {
                    Outcome::Denied(stop)
                } else {
                    Outcome::Failed(stop)
                }
            }
        };
        Report { way: self.entry.id.into(), outcome, steps, left }
    }

    /// Ok if the target's code ran.
    fn attempt(&mut self) -> io::Result<Result<(), Cause>> {
        let (output, mark) = io::pipe()?;
        let (notes, pipe) = io::pipe()?;
        let Some(pid) = fork_process()? else { self.be_the_process(mark, pipe) };
        drop((mark, pipe));
        // Either of both may be first; the process also does it.
        let _ = setpgid(pid, pid);
        let heard = listen(pid, output, notes)?;
        let status = waitpid(pid, None)?;
        // What it left running must not reach into the next way.
        let _ = killpg(pid, Signal::SIGKILL);
        let mut stop = None;
        for line in heard.notes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // The last line may be cut short by a kill.
            let Ok(note) = serde_json::from_slice(line) else { continue };
            if let Note::Stop(cause) = &note {
                stop = Some(cause.clone());
            }
            self.notes.push(note);
        }
        Ok(judge(&heard, self.way.mark, stop, status))
    }

    fn be_the_process(&self, mark: PipeWriter, pipe: PipeWriter) -> ! {
        let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
        let trace = Trace::Pipe(RefCell::new(OwnedFd::from(pipe).into()));
        let output = rustix::stdio::dup2_stdout(&mark).map_err(io::Error::from);
        drop(mark);
        let gone = match output {
            Ok(()) => (self.way.go)(&self.scene, &trace),
            Err(error) => Err(error.into()),
        };
        let code = match gone {
            Ok(()) => NO_MARK,
            Err(cause) => {
                trace.note(Note::Stop(cause));
                STOPPED
            }
        };
        exit_now(code)
    }
}

/// What was printed decides first: a target that ran did so whatever came after.
fn judge(heard: &Heard, mark: &[u8], stop: Option<Cause>, status: WaitStatus) -> Result<(), Cause> {
    if heard.output.windows(mark.len()).any(|part| part == mark) {
        return Ok(());
    }
    if heard.timed_out {
        return Err(Cause::Other("it does not end".into()));
    }
    if let Some(cause) = stop {
        return Err(cause);
    }
    Err(match status {
        WaitStatus::Signaled(_, signal, _) => Cause::Signal(signal as i32),
        WaitStatus::Exited(_, code) => {
            Cause::Other(format!("ended with status {code} and without the target's mark"))
        }
        other => Cause::Other(format!("ended as {other:?}")),
    })
}

/// Reads both pipes to their ends, or until the limit.
fn listen(pid: Pid, output: PipeReader, notes: PipeReader) -> io::Result<Heard> {
    let mut heard = Heard::default();
    let deadline = Instant::now() + LIMIT;
    let (mut output, mut notes) = (Some(output), Some(notes));
    while output.is_some() || notes.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            heard.timed_out = true;
            let _ = killpg(pid, Signal::SIGKILL);
            break;
        }
        let pipes = [&output, &notes].into_iter().flatten();
        let mut fds: Vec<_> =
            pipes.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
        let ready: Vec<_> = fds
            .iter()
            .filter(|fd| fd.any() == Some(true))
            .map(|fd| fd.as_fd().as_raw_fd())
            .collect();
        drop(fds);
        take(&mut output, &ready, &mut heard.output)?;
        take(&mut notes, &ready, &mut heard.notes)?;
    }
    Ok(heard)
}

/// Reads what is there; a pipe that has ended is closed.
fn take(pipe: &mut Option<PipeReader>, ready: &[i32], into: &mut Vec<u8>) -> io::Result<()> {
    let Some(open) = pipe.as_mut().filter(|pipe| ready.contains(&pipe.as_raw_fd())) else {
        return Ok(());
    };
    let mut buffer = [0; 4096];
    match open.read(&mut buffer)? {
        0 => *pipe = None,
        read => into.extend_from_slice(&buffer[..read]),
    }
    Ok(())
}

/// None in the new process.
#[expect(unsafe_code, reason = "there is no safe way to fork")]
pub(crate) fn fork_process() -> io::Result<Option<Pid>> {
    // SAFETY: the driver has one thread, so the new process has all locks free.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

#[expect(unsafe_code, reason = "an ordinary exit would flush the parent's buffers once more")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: always safe to call; nothing of this process has to be dropped.
    unsafe { nix::libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(output: &[u8], stop: Option<Cause>, status: WaitStatus) -> Result<(), Cause> {
        let heard = Heard { output: output.into(), ..Heard::default() };
        judge(&heard, b"mark", stop, status)
    }

    #[test]
    fn only_the_mark_means_that_the_target_ran() {
        let pid = Pid::from_raw(1);
        let ended = WaitStatus::Exited(pid, 0);
        assert_eq!(judged(b"a mark\n", Some(Cause::Errno(13)), ended), Ok(()));
        assert!(!judged(b"mar", None, ended).unwrap_err().is_denial(None));
        assert_eq!(judged(b"", Some(Cause::Errno(13)), ended), Err(Cause::Errno(13)));
        let killed = WaitStatus::Signaled(pid, Signal::SIGSEGV, false);
        assert_eq!(judged(b"", None, killed), Err(Cause::Signal(Signal::SIGSEGV as i32)));
    }
}
