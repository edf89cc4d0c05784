// SPDX-License-Identifier: Apache-2.0
//! The socket of the API: made with its final mode, so that nobody gets in before it is restricted.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket};

/// Operators at once; the queue of connections that wait to be accepted.
const BACKLOG: u32 = 16;

/// A listening socket, whose file goes away with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{0} is in use; another relay runs, or choose another --api")]
    InUse(PathBuf),
    /// Anything else.
    #[error("cannot listen on {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

// === impl Listener ===

impl Listener {
    /// Listens on a path, with mode 0600. A socket that a dead relay left behind is replaced.
    ///
    /// # Errors
    /// If it cannot.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Socket { path: path.into(), source };
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
        }
        // Only a socket is ever removed: a connection to any other file is refused as well.
        let is_socket =
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
        if is_socket {
            match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
                Ok(_) => return Err(BindError::InUse(path.into())),
            }
        }
        let listener = restricted(path).map_err(failed)?;
        Ok(Self { listener, file: SocketFile(path.into()) })
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Linux gives the file of a socket the mode that the socket had when it was bound.
/// <https://github.com/torvalds/linux/blob/v6.12/net/unix/af_unix.c#L1253>
fn restricted(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(path)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_only() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("run/relay.sock");
        let _listener = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone_and_a_dead_one_is_replaced() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("relay.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let live = Listener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(BindError::InUse(_))));
        drop(live);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn another_file_is_never_removed() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(Listener::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }
}
