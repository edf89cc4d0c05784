// SPDX-License-Identifier: Apache-2.0
//! The protocol between a container runtime and the agent.
//!
//! A frame is a length (u32, big endian) and that many bytes of JSON. Bytes flow in, a [`Call`]
//! flows out, and [`Reply`] goes back the same way. Both sides use these types; sockets, clocks and
//! processes are `gate.rs`'s and `hook.rs`'s.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use policy_model::{InvalidPath, RulePath};
use serde::{Deserialize, Serialize};

use crate::containers::{ContainerId, InvalidContainerId};

/// Version of the protocol that this build speaks.
pub const VERSION: u32 = 1;

/// Where the agent listens.
pub const SOCKET: &str = "/run/kadapter/agent.sock";

/// Bytes of a frame without its length: the annotations that we read are a few hundred bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// Reason of a refusal that may be another one a moment later.
pub const NOT_READY: &str = "the agent did not become ready in time";

/// What happens to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Its first process exists and has not run an instruction of the container.
    Create,
    /// Its first process runs.
    Start,
    /// A further process joins it.
    Exec,
    /// Its first process ended.
    Exit,
    /// It is gone.
    Remove,
    /// Nothing: the sender asks whether the agent enforces. The container's id means nothing.
    Ready,
}

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// What happens.
    pub event: Event,
    /// To which container.
    pub container: Facts,
}

/// What the runtime knows of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Id of the container.
    pub id: String,
    /// Id of its sandbox; empty if unknown.
    #[serde(default)]
    pub sandbox_id: String,
    /// The process: for `exec` the one that joins, else the first. In the agent's pid namespace.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Inode of its pid namespace.
    #[serde(default)]
    pub pid_ns: Option<u64>,
    /// Inode of its mount namespace.
    #[serde(default)]
    pub mnt_ns: Option<u64>,
    /// Path of its cgroup below the cgroup2 mount.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// OCI annotations of the container.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its root directory as the process sees it before it changes its root.
    #[serde(default)]
    pub rootfs: Option<String>,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// The decision.
    pub answer: Answer,
}

/// The decision about a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// It may go on.
    Proceed {
        /// Generation of the rule set in force; zero for none.
        generation: u64,
        /// Its digest as lower-case hex.
        digest: String,
    },
    /// It must not run.
    Refuse {
        /// Why, for the operator.
        reason: String,
    },
}

/// A valid request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The container.
    pub id: ContainerId,
    /// What happens to it.
    pub step: Step,
}

/// What happens, with what is needed to act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// See [`Event::Create`].
    Create {
        /// The first process.
        process: Process,
        /// See [`Facts::rootfs`].
        rootfs: Option<RulePath>,
        /// See [`Facts::annotations`].
        annotations: BTreeMap<String, String>,
    },
    /// See [`Event::Start`].
    Start,
    /// See [`Event::Exec`].
    Exec(Process),
    /// See [`Event::Exit`].
    Exit,
    /// See [`Event::Remove`].
    Remove,
    /// See [`Event::Ready`].
    Ready,
}

/// A process as the runtime describes it; what it claims beyond the pid is compared with /proc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id in the agent's pid namespace.
    pub pid: u32,
    /// Inode of its pid namespace.
    pub pid_ns: Option<u64>,
    /// Inode of its mount namespace.
    pub mnt_ns: Option<u64>,
    /// Path of its cgroup below the cgroup2 mount.
    pub cgroup: Option<String>,
}

/// Why bytes are no frame of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFrame {
    /// More than is ever needed.
    #[error("the frame has {0} bytes; the protocol allows {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// Not the JSON of this message.
    #[error("the frame cannot be decoded: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Of another version.
    #[error("the frame has version {0}, this build speaks {VERSION}; upgrade the older side")]
    Version(u32),
    /// The id of the container.
    #[error("container.id: {0}")]
    Id(#[from] InvalidContainerId),
    /// A field without which the event has no meaning.
    #[error("container.{0} is missing")]
    Missing(&'static str),
    /// A process id that no container can have.
    #[error("container.pid is {0}; a container's process has a pid above 1")]
    Pid(u32),
    /// The root directory.
    #[error("container.rootfs: {0}")]
    Rootfs(#[from] InvalidPath),
}

/// A frame: the message with its length before it.
///
/// # Errors
/// If the message is longer than the protocol allows.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, InvalidFrame> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    body_length(length.to_be_bytes())?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

/// Length of the body that follows this prefix.
///
/// # Errors
/// If it is more than the protocol allows.
pub fn body_length(prefix: [u8; 4]) -> Result<usize, InvalidFrame> {
    match u32::from_be_bytes(prefix) as usize {
        length if length > MAX_FRAME_BYTES => Err(InvalidFrame::TooLong(length)),
        length => Ok(length),
    }
}

/// The request in a frame's body.
///
/// # Errors
/// The first reason why it is none.
pub fn decode_request(body: &[u8]) -> Result<Call, InvalidFrame> {
    let request: Request = decode(body)?;
    check_version(request.version)?;
    request.try_into()
}

/// The answer in a frame's body.
///
/// # Errors
/// The first reason why it is none.
pub fn decode_reply(body: &[u8]) -> Result<Answer, InvalidFrame> {
    let reply: Reply = decode(body)?;
    check_version(reply.version)?;
    Ok(reply.answer)
}

impl TryFrom<Request> for Call {
    type Error = InvalidFrame;

    fn try_from(request: Request) -> Result<Self, InvalidFrame> {
        let facts = request.container;
        let id = ContainerId::new(&facts.id)?;
        let step = match request.event {
            Event::Create => Step::Create {
                process: process_of(&facts)?,
                rootfs: facts.rootfs.map(RulePath::new).transpose()?,
                annotations: facts.annotations,
            },
            Event::Start => Step::Start,
            Event::Exec => Step::Exec(process_of(&facts)?),
            Event::Exit => Step::Exit,
            Event::Remove => Step::Remove,
            Event::Ready => Step::Ready,
        };
        Ok(Self { id, step })
    }
}

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, InvalidFrame> {
    if body.len() > MAX_FRAME_BYTES {
        return Err(InvalidFrame::TooLong(body.len()));
    }
    Ok(serde_json::from_slice(body)?)
}

fn check_version(version: u32) -> Result<(), InvalidFrame> {
    if version == VERSION { Ok(()) } else { Err(InvalidFrame::Version(version)) }
}

fn process_of(facts: &Facts) -> Result<Process, InvalidFrame> {
    let pid = facts.pid.ok_or(InvalidFrame::Missing("pid"))?;
    // The upper half would be negative as the kernel's pid_t.
    if !(2..=i32::MAX.unsigned_abs()).contains(&pid) {
        return Err(InvalidFrame::Pid(pid));
    }
    Ok(Process { pid, pid_ns: facts.pid_ns, mnt_ns: facts.mnt_ns, cgroup: facts.cgroup.clone() })
}
