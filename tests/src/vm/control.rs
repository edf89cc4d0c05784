// SPDX-License-Identifier: Apache-2.0
//! The host's end of vsock: connecting to a port of the guest through the device's *hybrid* socket,
//! and one request to the guest's PID 1 per connection. Knows nothing of processes or images.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest_init::protocol::{self, CONTROL_PORT, Reply, Request};

use crate::patience::{patient, poll};

/// The device answers `OK <port>`; anything longer is no answer of its.
const ANSWER_CAP: usize = 32;

/// Until an attempt to connect is given up for another one. A connection is set up in milliseconds; an
/// answer that did not come in this time was lost, or the guest is busy.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Until a guest that is up has answered an attempt: some attempts, the machine being idle.
const REACHED: Duration = Duration::from_secs(30);

/// What a call may take beyond what the guest was allowed: transfer and a busy host.
const MARGIN: Duration = Duration::from_secs(30);

/// A guest to call.
#[derive(Clone, Copy)]
pub(crate) struct Guest<'a> {
    /// The device's hybrid socket.
    pub(crate) hvsock: &'a Path,
    /// Whether it is gone: then nothing is waited for.
    pub(crate) is_gone: &'a dyn Fn() -> bool,
}

// === impl Guest ===

impl Guest<'_> {
    /// Connects to a port. Until the guest's transport is up the device drops the connection, and on a
    /// busy host its answer is late or lost: all that can go wrong is tried again until the deadline.
    pub(crate) fn connect(self, port: u32, deadline: Instant) -> Result<UnixStream> {
        self.connect_by(port, deadline, ATTEMPT)
    }

    fn connect_by(self, port: u32, deadline: Instant, attempt: Duration) -> Result<UnixStream> {
        let context = || format!("connect to vsock port {port} of the guest");
        let stream = poll(deadline, || match handshake(self.hvsock, port, attempt) {
            Ok(stream) => Some(Ok(stream)),
            Err(error) if (self.is_gone)() || Instant::now() >= deadline => Some(Err(error)),
            Err(_) => None,
        });
        stream.unwrap_or_else(|| bail!("no time to connect")).with_context(context)
    }

    /// Sends one request to PID 1 and returns its reply. `limit` is what the guest may take for it.
    pub(crate) fn call(self, request: &Request, limit: Duration) -> Result<Reply> {
        let mut stream = self.connect(CONTROL_PORT, Instant::now() + patient(REACHED))?;
        stream.set_read_timeout(Some(patient(limit + MARGIN)))?;
        stream.set_write_timeout(Some(patient(MARGIN)))?;
        protocol::send(&mut stream, request).context("send the request")?;
        let reply = protocol::receive(&mut stream).context("receive the reply")?;
        reply.context("the guest hung up")
    }
}

fn handshake(hvsock: &Path, port: u32, attempt: Duration) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(hvsock).context("connect to the device")?;
    stream.set_read_timeout(Some(attempt))?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    /// A device that treats each connection in its own way, one after the other.
    fn device(answers: &[Option<&'static [u8]>]) -> (tempfile::TempDir, thread::JoinHandle<()>) {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("v.sock")).unwrap();
        let answers = answers.to_vec();
        let device = thread::spawn(move || {
            // Those that get no answer stay open.
            let mut silent = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 32];
                let asked = stream.read(&mut asked).map(|count| asked[..count].to_vec()).unwrap();
                assert_eq!(asked, b"CONNECT 7\n");
                match answer {
                    Some(bytes) => stream.write_all(bytes).unwrap(),
                    None => silent.push(stream),
                }
            }
        });
        (directory, device)
    }

    #[test]
    fn an_answer_that_is_late_lost_or_nonsense_is_asked_for_again() {
        let answers: [Option<&[u8]>; 5] =
            [None, Some(b""), Some(b"OK"), Some(b"NO 7\n"), Some(b"OK 7\n")];
        let (directory, device) = device(&answers);
        let hvsock = directory.path().join("v.sock");
        let guest = Guest { hvsock: &hvsock, is_gone: &|| false };
        let deadline = Instant::now() + Duration::from_secs(60);
        guest.connect_by(7, deadline, SHORT).unwrap();
        device.join().unwrap();
    }

    #[test]
    fn a_guest_that_is_gone_or_stays_silent_is_an_error_in_time() {
        let (directory, _device) = device(&[None, None]);
        let hvsock = directory.path().join("v.sock");
        let started = Instant::now();
        let gone = Guest { hvsock: &hvsock, is_gone: &|| true };
        let far = started + Duration::from_secs(600);
        let error = format!("{:#}", gone.connect_by(7, far, SHORT).unwrap_err());
        assert!(error.contains("wait for the device's answer"), "{error}");

        let silent = Guest { hvsock: &hvsock, is_gone: &|| false };
        let near = Instant::now() + 2 * SHORT;
        let error = format!("{:#}", silent.connect_by(7, near, SHORT).unwrap_err());
        assert!(error.contains("vsock port 7 of the guest"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
