// SPDX-License-Identifier: Apache-2.0
//! Who is at the other end of the gate's socket.

use std::{fs, io, os::unix::fs::MetadataExt as _};

use tokio::net::UnixStream;

/// Namespaces that a runtime shares with the agent and a container does not.
const NAMESPACES: [&str; 2] = ["mnt", "pid"];

/// Why a peer is not listened to.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// The kernel does not say who it is.
    #[error("reading who the peer is: {0}")]
    Unknown(#[from] io::Error),
    /// It is another user than the agent, which is root.
    #[error("the peer has uid {0}")]
    User(u32),
    /// It is not one of the guest's own processes.
    #[error("the peer has another {0} namespace than the agent")]
    Namespace(&'static str),
}

/// Accepts a peer that is the agent's own user in the agent's own namespaces.
pub(super) fn check(stream: &UnixStream) -> Result<(), PeerError> {
    let peer = stream.peer_cred()?;
    if peer.uid() != rustix::process::geteuid().as_raw() {
        return Err(PeerError::User(peer.uid()));
    }
    let pid = peer.pid().ok_or_else(|| io::Error::other("the peer has no pid here"))?;
    for name in NAMESPACES {
        let inode = |process: &str| fs::metadata(format!("/proc/{process}/ns/{name}"));
        if inode(&pid.to_string())?.ino() != inode("self")?.ino() {
            return Err(PeerError::Namespace(name));
        }
    }
    Ok(())
}
