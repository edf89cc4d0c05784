// SPDX-License-Identifier: Apache-2.0
//! The keeper's own process: takes a copy of descriptors that an agent names, and keeps them.
//!
//! Requests flow in as lines over one connection at a time: `keep CONTAINER FD,FD,...`, the descriptors
//! being those of the process at the other end, and `release CONTAINER`. One answer each: `done`, or
//! why not. An inode is kept once for each container. It leaves the agent's cgroup, so that whoever ends
//! the one does not end the other, and is the last that the kernel kills when memory is short.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::{
            fs::{DirBuilderExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
};

use rustix::{
    fs::fstat,
    net::sockopt::socket_peercred,
    process::{PidfdFlags, PidfdGetfdFlags, geteuid, pidfd_getfd, pidfd_open},
};

use crate::{containers::cgroup::unified_mount, memory};

/// A request: 1024 numbers of ten digits.
const MAX_LINE: u64 = 16 * 1024;

/// Descriptors in all: as many as the agent may have.
const MAX_KEPT: usize = 65_000;

/// Its cgroup, below the root of the hierarchy.
const CGROUP: &str = "kadapter-keeper";

/// What is kept: by container, each inode once.
#[derive(Default)]
struct Kept(BTreeMap<u32, HashMap<(u64, u64), OwnedFd>>);

/// Keeps until it is killed.
///
/// # Errors
/// If it cannot listen there.
pub fn run(socket: &Path) -> io::Result<()> {
    if let Err(error) = memory::spare_from_oom() {
        eprintln!("kadapter-keeper: the kernel may kill it when memory is short: {error}");
    }
    if let Err(error) = leave_cgroup() {
        eprintln!("kadapter-keeper: it shares the agent's cgroup: {error}");
    }
    serve_all(&listen(socket)?);
    Ok(())
}

pub(super) fn serve_all(listener: &UnixListener) {
    let mut kept = Kept::default();
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(|stream| kept.serve(stream)) {
            eprintln!("kadapter-keeper: {error}");
        }
    }
}

pub(super) fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = socket.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// An init system that ends the agent's service ends all that is in its cgroup.
fn leave_cgroup() -> io::Result<()> {
    let own = unified_mount().map_err(io::Error::other)?.join(CGROUP);
    fs::DirBuilder::new().recursive(true).create(&own)?;
    fs::write(own.join("cgroup.procs"), "0")
}

// === impl Kept ===

impl Kept {
    /// Serves one agent until it ends.
    fn serve(&mut self, stream: UnixStream) -> io::Result<()> {
        let peer = socket_peercred(&stream)?;
        if peer.uid != geteuid() {
            return Err(io::Error::other(format!("the peer has uid {}", peer.uid.as_raw())));
        }
        let process = pidfd_open(peer.pid, PidfdFlags::empty())?;
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.by_ref().take(MAX_LINE).read_line(&mut line)? == 0 {
                return Ok(());
            }
            let answer = match self.obey(&line, &process) {
                Ok(()) => "done".to_owned(),
                Err(error) => error.to_string().replace('\n', " "),
            };
            stream.get_mut().write_all(format!("{answer}\n").as_bytes())?;
        }
    }

    fn obey(&mut self, line: &str, process: impl AsFd) -> io::Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| text.parse().map_err(io::Error::other);
        match words[..] {
            ["keep", container, files] => {
                let container = number(container)?;
                files.split(',').try_for_each(|file| {
                    let file: RawFd = file.parse().map_err(io::Error::other)?;
                    self.keep(container, &process, file)
                })
            }
            ["release", container] => {
                self.0.remove(&number(container)?);
                Ok(())
            }
            _ => Err(io::Error::other("no such request")),
        }
    }

    fn keep(&mut self, container: u32, process: impl AsFd, file: RawFd) -> io::Result<()> {
        if self.0.values().map(HashMap::len).sum::<usize>() >= MAX_KEPT {
            return Err(io::Error::other(format!("{MAX_KEPT} descriptors are kept")));
        }
        let file = pidfd_getfd(process, file, PidfdGetfdFlags::empty())?;
        let stat = fstat(&file)?;
        self.0.entry(container).or_default().entry((stat.st_dev, stat.st_ino)).or_insert(file);
        Ok(())
    }
}
