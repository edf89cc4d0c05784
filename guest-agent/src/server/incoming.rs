// SPDX-License-Identifier: Apache-2.0
//! Where relays connect: vsock in a guest, a UNIX socket in tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
};
use tokio_vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockAddr, VsockListener};

/// Any stream of bytes.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// An open address.
#[derive(Debug)]
pub enum Listener {
    /// A vsock port, for the host alone.
    Vsock(VsockListener),
    /// A UNIX socket.
    Unix(UnixListener),
}

/// Why nothing can connect.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is taken, or the guest has no vsock device.
    #[error("vsock port {port}")]
    Vsock {
        /// The port.
        port: u32,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("the socket `{path}`")]
    Unix {
        /// Its path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Why a connection is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcceptError {
    /// It is closed at once.
    #[error("a connection from vsock CID {0}, which is not the host")]
    NotTheHost(u32),
    /// There is none.
    #[error("accepting a connection")]
    Socket(#[from] io::Error),
}

// === impl Listener ===

impl Listener {
    /// Opens a vsock port.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn vsock(port: u32) -> Result<Self, ListenError> {
        let listener = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port));
        listener.map(Self::Vsock).map_err(|source| ListenError::Vsock { port, source })
    }

    /// Opens a UNIX socket, in place of an old one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn unix(path: &Path) -> Result<Self, ListenError> {
        let bind = || {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            UnixListener::bind(path)
        };
        bind().map(Self::Unix).map_err(|source| ListenError::Unix { path: path.to_owned(), source })
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> Result<Box<dyn ByteStream>, AcceptError> {
        match self {
            Self::Vsock(listener) => {
                let (stream, peer) = listener.accept().await?;
                from_the_host(&peer)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// A container of the guest reaches the port too, if the kernel has vsock's loopback.
fn from_the_host(peer: &VsockAddr) -> Result<(), AcceptError> {
    match peer.cid() {
        VMADDR_CID_HOST => Ok(()),
        stranger => Err(AcceptError::NotTheHost(stranger)),
    }
}

#[cfg(test)]
mod tests {
    use tokio_vsock::VMADDR_CID_LOCAL;

    use super::*;

    #[test]
    fn only_the_host_connects_over_vsock() {
        assert!(from_the_host(&VsockAddr::new(VMADDR_CID_HOST, 5000)).is_ok());
        // Itself by loopback, itself by its own address, and what no peer has.
        for cid in [VMADDR_CID_LOCAL, 3, 0, VMADDR_CID_ANY] {
            let error = from_the_host(&VsockAddr::new(cid, 5000)).unwrap_err();
            assert!(error.to_string().contains(&format!("CID {cid},")), "{error}");
        }
    }
}
