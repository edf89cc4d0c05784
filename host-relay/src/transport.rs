// SPDX-License-Identifier: Apache-2.0
//! Byte streams to guests, and gRPC channels over them.
//!
//! An address and the relay's identity flow in, a channel over exactly one connection and the
//! guest's key flow out: when that connection ends the channel ends too and never dials again by
//! itself, because a guest behind the same address may be another one.

pub mod hybrid;
pub mod tls;

use std::{io, time::Duration};

use hyper_util::rt::TokioIo;
use session_tls::Fingerprint;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    time::timeout,
};
use tokio_vsock::{VsockAddr, VsockStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

pub use tls::Identity;

use crate::sandbox::Address;

/// From the first byte to a usable connection. A busy guest under emulation answers in 10 ms; one
/// that does not within this is not up, and the next attempt is the better wait.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// A silent peer is asked this often whether it lives; a killed one is seen at once, by EOF.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Bytes of a reply's names and values: a status with a reason of some hundred bytes. HTTP/2 libraries
/// take 16 KiB or more of them from anybody.
const MAX_HEADER_BYTES: u32 = 8 * 1024;

/// Any byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket.
    #[error("cannot connect to {address}")]
    Socket {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The hypervisor's multiplexer.
    #[error("cannot connect to {address}")]
    Handshake {
        /// Where.
        address: Address,
        /// Why.
        source: hybrid::HandshakeError,
    },
    /// No answer.
    #[error("{0} does not answer within {CONNECT_DEADLINE:?}")]
    Deadline(Address),
    /// TLS.
    #[error("cannot connect to {address}")]
    Tls {
        /// Where.
        address: Address,
        /// Why.
        source: tls::TlsError,
    },
    /// HTTP/2 on top of it.
    #[error("no HTTP/2 with {address}")]
    Http {
        /// Where.
        address: Address,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// Connects to a guest as this relay, and tells the key of the guest.
///
/// # Errors
/// If nobody answers there in time, or one of the two refuses the other.
pub async fn connect(
    address: &Address,
    identity: &Identity,
) -> Result<(Channel, Fingerprint), ConnectError> {
    let (stream, guest) = identity
        .over(dial(address).await?)
        .await
        .map_err(|source| ConnectError::Tls { address: address.clone(), source })?;
    Ok((speak(address, Box::new(stream)).await?, guest))
}

/// Connects in the clear: to a service of this host, or to a guest in tests.
///
/// # Errors
/// If nobody answers there in time.
pub async fn connect_in_the_clear(address: &Address) -> Result<Channel, ConnectError> {
    speak(address, dial(address).await?).await
}

async fn dial(address: &Address) -> Result<Box<dyn ByteStream>, ConnectError> {
    let dialled = timeout(CONNECT_DEADLINE, open(address)).await;
    dialled.map_err(|_| ConnectError::Deadline(address.clone()))?
}

async fn speak(address: &Address, stream: Box<dyn ByteStream>) -> Result<Channel, ConnectError> {
    let deadline = || ConnectError::Deadline(address.clone());
    let channel = timeout(CONNECT_DEADLINE, over(stream)).await.map_err(|_| deadline())?;
    channel.map_err(|source| ConnectError::Http { address: address.clone(), source })
}

async fn open(address: &Address) -> Result<Box<dyn ByteStream>, ConnectError> {
    let socket = |source| ConnectError::Socket { address: address.clone(), source };
    match address {
        Address::HybridVsock { path, port } => {
            let mut stream = UnixStream::connect(path).await.map_err(socket)?;
            hybrid::handshake(&mut stream, *port)
                .await
                .map_err(|source| ConnectError::Handshake { address: address.clone(), source })?;
            Ok(Box::new(stream))
        }
        &Address::Vsock { cid, port } => {
            let stream = VsockStream::connect(VsockAddr::new(cid, port)).await.map_err(socket)?;
            Ok(Box::new(stream))
        }
        Address::Unix { path } => Ok(Box::new(UnixStream::connect(path).await.map_err(socket)?)),
    }
}

/// A channel over this one stream.
async fn over(stream: Box<dyn ByteStream>) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(stream);
    let once = service_fn(move |_: Uri| {
        let stream = stream.take().map(TokioIo::new);
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    // The name is never looked up: the connector has its stream already.
    Endpoint::from_static("http://guest")
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector(once)
        .await
}
