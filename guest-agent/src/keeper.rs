// SPDX-License-Identifier: Apache-2.0
//! A process beside the agent that outlives it, and keeps descriptors that must.
//!
//! On virtio-fs an inode that is held by identity is known by a token in kernel memory, which is lost
//! when the inode leaves the cache. The agent keeps such inodes open; the keeper (`keeper/process.rs`)
//! has a second descriptor of each, so that the death of the agent frees none. Here is the agent's
//! end: numbers of open descriptors flow in, by container. The keeper is started when the first one is
//! to be kept, is found again by the next agent, and gives nothing back: what it has stays open until
//! the container is gone. Never: learns what a descriptor is for.

mod process;
#[cfg(test)]
mod tests;

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub use process::run;

/// Where the keeper listens: only the guest's root can go there, and no container has the path.
pub const SOCKET: &str = "/run/kadapter/keeper.sock";

/// Until a keeper that was started listens, and for each answer: it takes some system calls.
const DEADLINE: Duration = Duration::from_secs(2);

/// Pause between two attempts to reach one that was started.
const PAUSE: Duration = Duration::from_millis(5);

/// Descriptors in one request: a line of 8 KiB at most.
const CHUNK: usize = 1024;

/// The agent's end.
#[derive(Debug)]
pub(crate) struct Keeper {
    socket: PathBuf,
    connection: Option<BufReader<UnixStream>>,
}

// === impl Keeper ===

impl Keeper {
    /// One that listens, or will listen, there.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), connection: None }
    }

    /// Has these files kept open for a container.
    ///
    /// # Errors
    /// If there is no keeper and none can be started, or it has no room.
    pub(crate) fn keep<'f>(
        &mut self,
        container: u32,
        files: impl Iterator<Item = &'f OwnedFd>,
    ) -> io::Result<()> {
        let numbers: Vec<_> = files.map(|file| file.as_raw_fd().to_string()).collect();
        for chunk in numbers.chunks(CHUNK) {
            self.ask_or_start(&format!("keep {container} {}\n", chunk.join(",")))?;
        }
        Ok(())
    }

    /// Has what is kept for a container closed. Without a keeper nothing is.
    ///
    /// # Errors
    /// If there is one, and it does not answer.
    pub(crate) fn release(&mut self, container: u32) -> io::Result<()> {
        if self.connection.is_none() && !self.socket.exists() {
            return Ok(());
        }
        match self.ask(&format!("release {container}\n")) {
            Err(error) if is_absence(&error) => Ok(()),
            result => result,
        }
    }

    /// If the keeper was killed, the next one is told of later files only; those before are open here.
    fn ask_or_start(&mut self, request: &str) -> io::Result<()> {
        match self.ask(request) {
            Err(error) if is_absence(&error) => {
                start(&self.socket)?;
                self.ask(request)
            }
            result => result,
        }
    }

    fn ask(&mut self, request: &str) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.socket)?,
        };
        connection.get_mut().write_all(request.as_bytes())?;
        let mut answer = String::new();
        connection.read_line(&mut answer)?;
        match answer.trim_end() {
            "done" => {
                self.connection = Some(connection);
                Ok(())
            }
            "" => Err(io::ErrorKind::BrokenPipe.into()),
            why => Err(io::Error::other(format!("the keeper: {why}"))),
        }
    }
}

fn connect(socket: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(BufReader::new(stream))
}

/// Whether an error says that there is no keeper (any more).
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
    )
}

/// Starts one, under a name of its own, and waits until it listens.
fn start(socket: &Path) -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("kadapter-keeper")
        .arg("keeper")
        .arg(socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let end = Instant::now() + DEADLINE;
    while connect(socket).is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the keeper ended with {status}")));
        }
        if Instant::now() > end {
            return Err(io::Error::other("the keeper does not listen"));
        }
        thread::sleep(PAUSE);
    }
    tracing::info!(pid = child.id(), "a keeper holds what must outlive the agent");
    // Waited for by init when the agent is gone; until then a dead keeper is a zombie.
    drop(child);
    Ok(())
}
