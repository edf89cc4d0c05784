// SPDX-License-Identifier: Apache-2.0
//! One change of a file that neither opens nor names it, or one try to reach who listens at a socket,
//! for rules on files. No way around anything: what is denied says so by its error number.

use std::io;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use nix::errno::Errno;
use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, XattrFlags, removexattr, setxattr, utimensat,
};

use crate::attempt::fork_process;

/// `security.capability`: revision 2, CAP_NET_BIND_SERVICE permitted.
const CAPABILITY: (&str, [u8; 20]) =
    ("security.capability", [0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/// `system.posix_acl_access`: version 2; the owner may read and write, others read.
const ACL: (&str, [u8; 28]) = (
    "system.posix_acl_access",
    [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0,
        255, 255, 255, 255,
    ],
);

/// How long a listener listens: longer than what asks it may take.
const LISTENS: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// utimensat(2)
    Times,
    /// setxattr(2) of security.capability
    SetAttribute,
    /// removexattr(2) of it
    RemoveAttribute,
    /// setxattr(2) of an access list
    SetAcl,
    /// Listen at a new socket, in a process of its own
    Listen,
    /// Wait for datagrams at a new socket, in a process of its own
    Wait,
    /// connect(2)
    Connect,
    /// sendto(2)
    Send,
}

/// A kind of change, and of what.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    kind: Kind,
    path: PathBuf,
}

/// Exit code: 0 if it is done, 1 if it is denied, 2 if it failed.
pub(crate) fn run(args: &ChangeArgs) -> u8 {
    let Err(error) = make(args) else { return 0 };
    eprintln!("attack: {}: {error}", args.path.display());
    let denied = [Errno::EACCES, Errno::EPERM].map(|errno| Some(errno as i32));
    if denied.contains(&error.raw_os_error()) { 1 } else { 2 }
}

fn make(ChangeArgs { kind, path }: &ChangeArgs) -> io::Result<()> {
    let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = || Timestamps { last_access: now(), last_modification: now() };
    let set = |(name, value): (&str, &[u8])| setxattr(path, name, value, XattrFlags::empty());
    match kind {
        Kind::Times => utimensat(CWD, path, &times(), AtFlags::empty())?,
        Kind::SetAttribute => set((CAPABILITY.0, &CAPABILITY.1))?,
        Kind::RemoveAttribute => removexattr(path, CAPABILITY.0)?,
        Kind::SetAcl => set((ACL.0, &ACL.1))?,
        Kind::Listen => stay(UnixListener::bind(path)?)?,
        Kind::Wait => stay(UnixDatagram::bind(path)?)?,
        Kind::Connect => drop(UnixStream::connect(path)?),
        Kind::Send => drop(UnixDatagram::unbound()?.send_to(b"text", path)?),
    }
    Ok(())
}

/// Keeps a socket in a child that holds nothing of the parent's.
fn stay<T>(socket: T) -> io::Result<()> {
    if fork_process()?.is_none() {
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        thread::sleep(LISTENS);
    }
    drop(socket);
    Ok(())
}
