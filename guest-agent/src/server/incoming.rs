// SPDX-License-Identifier: Apache-2.0
//! Where the relay connects: vsock in a guest, a UNIX socket in tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::net::UnixListener;
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tokio_vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockAddr, VsockListener, VsockStream};

/// An open address.
#[derive(Debug)]
pub enum Listener {
    /// A vsock port, for the host alone.
    Vsock(HostOnly),
    /// A UNIX socket.
    Unix(UnixListenerStream),
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

// === impl Listener ===

impl Listener {
    /// Opens a vsock port.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn vsock(port: u32) -> Result<Self, ListenError> {
        let listener = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port));
        let listener = listener.map_err(|source| ListenError::Vsock { port, source })?;
        Ok(Self::Vsock(HostOnly(listener.incoming())))
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
        let listener =
            bind().map_err(|source| ListenError::Unix { path: path.to_owned(), source })?;
        Ok(Self::Unix(UnixListenerStream::new(listener)))
    }
}

/// Connections from the host. A container of the guest reaches the port too, by loopback.
#[derive(Debug)]
pub struct HostOnly(tokio_vsock::Incoming);

impl Stream for HostOnly {
    type Item = io::Result<VsockStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next = std::task::ready!(Pin::new(&mut self.0).poll_next(context));
            let Some(Ok(stream)) = next else { return Poll::Ready(next) };
            match stream.peer_addr() {
                Ok(peer) if peer.cid() == VMADDR_CID_HOST => return Poll::Ready(Some(Ok(stream))),
                peer => tracing::warn!(?peer, "a connection from elsewhere than the host"),
            }
        }
    }
}
