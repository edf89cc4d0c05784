// SPDX-License-Identifier: Apache-2.0
//! The control channel between the rig and the guest's PID 1.
//!
//! A connection carries requests and replies in turn, each a frame: four bytes of length, big
//! endian, then JSON. Contents of files and streams travel as base64 and so arrive unchanged. Only
//! meaning is defined here; neither sockets nor processes are touched.

use std::fmt;
use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The AF_VSOCK port that the guest listens on.
pub const CONTROL_PORT: u32 = 1999;

/// Starts the console line that says the control channel is being served.
pub const READY_MARKER: &str = "guest-init: ready";

/// Starts the console line of an init that gave up; the VM powers off after it.
pub const FAILED_MARKER: &str = "guest-init: failed";

/// Longest frame that either side accepts; a file of the largest tool fits several times over.
const MAX_FRAME: u32 = 64 << 20;

/// What the rig asks of the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Run a program to its end.
    Exec(Exec),
    /// Start a program and leave it running.
    Spawn(Spawn),
    /// Wait for the end of a spawned program, at most `timeout_ms`.
    Wait {
        /// As returned by [`Reply::Spawned`].
        pid: i32,
        /// Then [`End::TimedOut`] is reported and the program goes on.
        timeout_ms: u64,
    },
    /// Send a signal to any process of the guest.
    Kill {
        /// A process, or a process group if negative.
        pid: i32,
        /// Number of the signal.
        signal: i32,
    },
    /// Create or replace a file, and the directories above it.
    WriteFile {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// The whole content.
        content: Bytes,
    },
    /// Return a file's content.
    ReadFile {
        /// Absolute path.
        path: String,
    },
    /// End the VM. There is no reply.
    PowerOff,
}

/// A program, how to start it, and how long it may take.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; the program is searched in `PATH`.
    pub argv: Vec<String>,
    /// Added to init's own small environment.
    pub env: Vec<(String, String)>,
    /// Working directory; `/` if absent.
    pub cwd: Option<String>,
    /// Fed to the program's standard input.
    pub stdin: Bytes,
    /// After that the program's process group is killed.
    pub timeout_ms: u64,
}

/// A program that keeps running.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Spawn {
    /// Program and arguments; the program is searched in `PATH`.
    pub argv: Vec<String>,
    /// Added to init's own small environment.
    pub env: Vec<(String, String)>,
    /// Both output streams are appended to this file and shown on the console.
    pub log: String,
}

/// What the guest answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Exec`].
    Output(Output),
    /// To [`Request::Spawn`].
    Spawned {
        /// In the guest's first pid namespace.
        pid: i32,
    },
    /// To [`Request::Wait`].
    Ended {
        /// How the program ended.
        end: End,
    },
    /// To [`Request::ReadFile`].
    Content {
        /// The whole content.
        content: Bytes,
    },
    /// To a request that returns nothing.
    Done,
    /// To any request that could not be carried out.
    Refused {
        /// For a human.
        reason: String,
    },
}

/// How a program ended and what it printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// How it ended.
    pub end: End,
    /// All of its standard output up to its end.
    pub stdout: Bytes,
    /// All of its standard error up to its end.
    pub stderr: Bytes,
}

impl Output {
    /// Whether the program exited with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == End::Exited { status: 0 }
    }

    /// The exit status, if the program exited by itself.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        match self.end {
            End::Exited { status } => Some(status),
            End::Signaled { .. } | End::TimedOut => None,
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// By itself.
    Exited {
        /// Its exit status.
        status: i32,
    },
    /// By a signal.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// Not within its time.
    TimedOut,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { status } => write!(f, "exit status {status}"),
            Self::Signaled { signal } => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("time limit"),
        }
    }
}

/// Bytes that need not be text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// As text, with anything that is no UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl<T: Into<Vec<u8>>> From<T> for Bytes {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

/// Why a frame could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed or ended within a frame.
    #[error("control stream")]
    Stream(#[from] io::Error),
    /// The length announced or needed is out of bounds.
    #[error("a frame of {0} bytes exceeds {MAX_FRAME}")]
    TooLong(u64),
    /// The frame holds something else than expected.
    #[error("frame content")]
    Content(#[from] serde_json::Error),
}

/// Sends one frame.
///
/// # Errors
/// If the message is too long or the stream fails.
pub fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| *length <= MAX_FRAME)
        .ok_or(FrameError::TooLong(body.len() as u64))?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&body)?;
    Ok(stream.flush()?)
}

/// Receives one frame; `None` if the stream ended between frames.
///
/// # Errors
/// If the frame is too long, cut short, or not a `T`.
pub fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut length = [0; 4];
    match stream.read(&mut length)? {
        0 => return Ok(None),
        read => stream.read_exact(&mut length[read..])?,
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length.into()));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_bytes_that_are_no_text() {
        let sent = Reply::Content { content: Bytes((0..=255).collect()) };
        let mut wire = Vec::new();
        send(&mut wire, &sent).unwrap();
        send(&mut wire, &Reply::Done).unwrap();
        let mut wire = wire.as_slice();
        let Some(Reply::Content { content }) = receive(&mut wire).unwrap() else { panic!() };
        assert_eq!(content.0, (0..=255).collect::<Vec<u8>>());
        assert!(matches!(receive(&mut wire).unwrap(), Some(Reply::Done)));
        assert!(receive::<Reply>(&mut wire).unwrap().is_none());
    }

    #[test]
    fn a_frame_cut_short_is_an_error() {
        let mut wire = Vec::new();
        send(&mut wire, &Request::PowerOff).unwrap();
        for end in 1..wire.len() {
            assert!(receive::<Request>(&mut &wire[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn an_overlong_frame_is_refused_before_it_is_read() {
        let wire = u32::MAX.to_be_bytes();
        assert!(matches!(receive::<Request>(&mut &wire[..]), Err(FrameError::TooLong(_))));
    }
}
