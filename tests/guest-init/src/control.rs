// SPDX-License-Identifier: Apache-2.0
//! The control channel: accepts connections from the host and answers their requests, each
//! connection in a thread of its own. What a request does is in the modules it calls.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_init::protocol::{self, CONTROL_PORT, FrameError, Reply, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockListener, VsockStream};

use crate::{boot, children, console, exec, spawn};

/// Serves for ever.
pub(crate) fn serve() -> Result<Infallible> {
    let listener = VsockListener::bind_with_cid_port(VMADDR_CID_ANY, CONTROL_PORT)
        .with_context(|| format!("listen on vsock port {CONTROL_PORT}"))?;
    console::ready();
    loop {
        let (stream, peer) = listener.accept().context("accept")?;
        if peer.cid() == VMADDR_CID_HOST {
            thread::spawn(move || converse(stream));
        } else {
            console::note(&format!("connection of cid {} refused", peer.cid()));
        }
    }
}

fn converse(mut stream: VsockStream) {
    if let Err(error) = answer_all(&mut stream) {
        console::note(&format!("control connection: {:#}", anyhow::Error::from(error)));
    }
}

fn answer_all(stream: &mut VsockStream) -> Result<(), FrameError> {
    while let Some(request) = protocol::receive(stream)? {
        let reply =
            answer(request).unwrap_or_else(|error| Reply::Refused { reason: format!("{error:#}") });
        match protocol::send(stream, &reply) {
            Err(error @ FrameError::TooLong(_)) => {
                protocol::send(stream, &Reply::Refused { reason: error.to_string() })?;
            }
            sent => sent?,
        }
    }
    Ok(())
}

fn answer(request: Request) -> Result<Reply> {
    Ok(match request {
        Request::Exec(program) => Reply::Output(exec::run(program)?),
        Request::Spawn(program) => Reply::Spawned { pid: spawn::run(&program)? },
        Request::Wait { pid, timeout_ms } => {
            let end = children::wait(pid, Duration::from_millis(timeout_ms));
            Reply::Ended { end: end.with_context(|| format!("{pid} was not spawned here"))? }
        }
        Request::Kill { pid, signal } => {
            let signal = Signal::try_from(signal).context("signal")?;
            kill(Pid::from_raw(pid), signal).with_context(|| format!("kill {pid}"))?;
            Reply::Done
        }
        Request::WriteFile { path, mode, content } => {
            write_file(&path, mode, &content.0).with_context(|| format!("write {path}"))?;
            Reply::Done
        }
        Request::ReadFile { path } => {
            let content = fs::read(&path).with_context(|| format!("read {path}"))?;
            Reply::Content { content: content.into() }
        }
        Request::PowerOff => {
            boot::power_off();
            bail!("the guest does not power off")
        }
    })
}

fn write_file(path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
