// SPDX-License-Identifier: Apache-2.0
//! The OCI hook: asks the agent whether a container may run, and kills it if not.
//!
//! The runtime's state flows in on stdin, an exit status flows out. A kata-agent ignores that
//! status and starts the container ten seconds later at the latest, so the process is killed for
//! every failure: no agent, no answer, a bad answer, a refusal. Only after the container's end
//! nothing is killed.

pub mod state;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    net::{
        self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
        sockopt::{Timeout, set_socket_timeout},
    },
    process::{Signal, pidfd_send_signal},
};

use crate::{
    args::{HookArgs, HookKind},
    containers::{Init, InspectError},
    lifecycle::{self, Answer, Event, InvalidFrame, Request, VERSION},
};
use state::{InvalidState, OciState};

/// Why a container was not let through.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The runtime does not say which container.
    #[error(transparent)]
    State(#[from] InvalidState),
    /// Its process is not there.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The agent is not there, or did not answer in time.
    #[error("asking the agent at {socket}: {source}")]
    Agent {
        /// Its socket.
        socket: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It answered something else.
    #[error("the agent's answer: {0}")]
    Answer(#[from] InvalidFrame),
    /// The container must not run.
    #[error("the container is refused: {0}")]
    Refused(String),
    /// It must not run, and could not be stopped.
    #[error("{reason}; and process {pid} could not be killed: {source}")]
    NotKilled {
        /// Why it must not run.
        reason: Box<HookError>,
        /// The process.
        pid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Acts on the state on stdin.
///
/// # Errors
/// If the container was not let through; its process is dead then, where there was one.
pub fn run(args: HookArgs) -> Result<(), HookError> {
    let state = OciState::read(io::stdin().lock())?;
    act(&args, &state)
}

fn act(args: &HookArgs, state: &OciState) -> Result<(), HookError> {
    let event = match args.kind {
        HookKind::Prestart => Event::Create,
        HookKind::Poststart => Event::Start,
        HookKind::Poststop => {
            let container = state.removed();
            return ask(args, &Request { version: VERSION, event: Event::Remove, container });
        }
    };
    // Taken before anything else: this process is killed, whoever has its pid later.
    let process = Init::open(state.pid()?)?;
    let asked = || {
        let container = state.facts(&process)?;
        ask(args, &Request { version: VERSION, event, container })
    };
    asked().map_err(|reason| kill(&process, reason))
}

fn kill(process: &Init, reason: HookError) -> HookError {
    match pidfd_send_signal(process, Signal::KILL) {
        // It is dead either way.
        Ok(()) | Err(rustix::io::Errno::SRCH) => reason,
        Err(errno) => HookError::NotKilled {
            reason: Box::new(reason),
            pid: process.pid(),
            source: errno.into(),
        },
    }
}

fn ask(args: &HookArgs, request: &Request) -> Result<(), HookError> {
    let frame = lifecycle::encode(request)?;
    let failed = |source| HookError::Agent { socket: args.socket.display().to_string(), source };
    let body = exchange(&args.socket, &frame, args.deadline).map_err(failed)?;
    match lifecycle::decode_reply(&body)? {
        Answer::Proceed { .. } => Ok(()),
        Answer::Refuse { reason } => Err(HookError::Refused(reason)),
    }
}

/// Sends a request to the agent and gives the body of its reply.
///
/// # Errors
/// If the agent is not there, or has not answered in time.
pub fn exchange(socket: &Path, frame: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
    let mut agent = Deadline { at: Instant::now() + limit, stream: connect(socket, limit)? };
    agent.write_all(frame)?;
    let mut prefix = [0; 4];
    agent.read_exact(&mut prefix)?;
    let length = lifecycle::body_length(prefix).map_err(io::Error::other)?;
    let mut body = vec![0; length];
    agent.read_exact(&mut body)?;
    Ok(body)
}

/// Connects. The limit is for what is written too, and for room in the agent's queue: an agent that
/// accepts nothing any more (stopped, or under a debugger) would be waited for without end, and a
/// kata-agent starts the container meanwhile.
fn connect(socket: &Path, limit: Duration) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let stream = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&stream, Timeout::Send, Some(limit))?;
    net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}

/// A stream whose writes and reads together end at one moment.
struct Deadline {
    stream: UnixStream,
    at: Instant,
}

// === impl Deadline ===

impl Deadline {
    fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl io::Read for Deadline {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl io::Write for Deadline {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
