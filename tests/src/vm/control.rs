// SPDX-License-Identifier: Apache-2.0
//! The host's end of vsock: connecting to a port of the guest through the device's *hybrid* socket,
//! and one request to the guest's PID 1 per connection. Knows nothing of processes or images.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest_init::protocol::{self, CONTROL_PORT, Reply, Request};

use super::poll;

/// The device answers `OK <port>`; anything longer is no answer of its.
const ANSWER_CAP: usize = 32;

/// A connection is set up in milliseconds once the guest is up; this covers a busy host.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What a call may take beyond what the guest was allowed: transfer and a busy host.
const MARGIN: Duration = Duration::from_secs(30);

/// Connects to a port of the guest. Until the guest's transport is up the device drops the
/// connection, so this tries until the deadline.
pub(crate) fn connect(hvsock: &Path, port: u32, deadline: Instant) -> Result<UnixStream> {
    let mut last = None;
    let stream = poll(deadline, || match handshake(hvsock, port) {
        Ok(stream) => Some(stream),
        Err(error) => {
            last = Some(error);
            None
        }
    });
    stream
        .ok_or_else(|| last.unwrap_or_else(|| anyhow::anyhow!("no time to connect")))
        .with_context(|| format!("connect to vsock port {port} of the guest"))
}

fn handshake(hvsock: &Path, port: u32) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(hvsock).context("connect to the device")?;
    stream.set_read_timeout(Some(HANDSHAKE))?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).context("ask for the port")?;
    let answer = read_answer(&mut stream)?;
    ensure!(answer.starts_with("OK "), "the device answers {answer:?}");
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// Byte by byte, since what follows the line belongs to the guest's program.
fn read_answer(stream: &mut UnixStream) -> Result<String> {
    let mut answer = String::new();
    let mut byte = [0];
    while answer.len() < ANSWER_CAP {
        match stream.read(&mut byte) {
            Ok(0) => bail!("nobody listens on the port"),
            Ok(_) if byte[0] == b'\n' => return Ok(answer),
            Ok(_) => answer.push(char::from(byte[0])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("wait for the device's answer"),
        }
    }
    bail!("the device answers {answer:?} without an end")
}

/// Sends one request to PID 1 and returns its reply. `limit` is what the guest may take for it.
pub(crate) fn call(hvsock: &Path, request: &Request, limit: Duration) -> Result<Reply> {
    let mut stream = connect(hvsock, CONTROL_PORT, Instant::now() + HANDSHAKE)?;
    stream.set_read_timeout(Some(limit + MARGIN))?;
    stream.set_write_timeout(Some(MARGIN))?;
    protocol::send(&mut stream, request).context("send the request")?;
    let reply = protocol::receive(&mut stream).context("receive the reply")?;
    reply.context("the guest hung up")
}
