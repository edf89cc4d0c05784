// SPDX-License-Identifier: Apache-2.0
//! TLS over a stream to a guest: shows the relay's key, learns the guest's.
//!
//! It says only who is there; whether that is the guest of before is the session's business.

use std::{io, sync::Arc, time::Duration};

use session_tls::{Fingerprint, PrivateKey, client_config, server_name};
use tokio::{io::AsyncBufReadExt as _, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

use super::ByteStream;

/// Two flights, 30 ms with a guest under emulation; one that takes as long as this is not up.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);

/// The relay's identity towards guests.
#[derive(Clone, Debug)]
pub struct Identity {
    config: Arc<rustls::ClientConfig>,
    pin: Fingerprint,
}

/// Why there is no TLS with a guest.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The guest read the relay's key and hung up.
    #[error(
        "the guest refuses this relay's key; boot it with `kadapter.relay_key={pin}`, or use the \
         key that it is configured with"
    )]
    KeyRefused {
        /// The relay's key.
        pin: Fingerprint,
        /// What the guest said.
        #[source]
        source: io::Error,
    },
    /// What is there speaks something else, or nothing any more.
    #[error("no TLS")]
    Failed(#[source] io::Error),
    /// Nor in time.
    #[error("no TLS within {HANDSHAKE_DEADLINE:?}")]
    Deadline,
    /// Cannot be: rustls demands one.
    #[error("the guest shows no key")]
    NoKey,
}

// === impl Identity ===

impl Identity {
    /// With this key.
    #[must_use]
    pub fn new(key: &PrivateKey) -> Self {
        Self { config: Arc::new(client_config(key)), pin: key.fingerprint() }
    }

    /// Shakes hands, and waits until the guest has accepted it.
    pub(super) async fn over(
        &self,
        stream: Box<dyn ByteStream>,
    ) -> Result<(TlsStream<Box<dyn ByteStream>>, Fingerprint), TlsError> {
        let connected = timeout(HANDSHAKE_DEADLINE, self.shake(stream)).await;
        let stream = connected.map_err(|_| TlsError::Deadline)??;
        let guest = Fingerprint::of_peer(stream.get_ref().1.peer_certificates());
        Ok((stream, guest.ok_or(TlsError::NoKey)?))
    }

    async fn shake(
        &self,
        stream: Box<dyn ByteStream>,
    ) -> Result<TlsStream<Box<dyn ByteStream>>, TlsError> {
        let connector = TlsConnector::from(self.config.clone());
        let connected = connector.connect(server_name(), stream).await;
        let mut stream = connected.map_err(|error| self.failure(error))?;
        // In TLS 1.3 a client is done before the server has looked at its key. A gRPC server speaks
        // first, so its first bytes say that it did, and are left for HTTP/2.
        let first = stream.fill_buf().await.map_err(|error| self.failure(error))?;
        if first.is_empty() {
            return Err(TlsError::Failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(stream)
    }

    fn failure(&self, error: io::Error) -> TlsError {
        use rustls::AlertDescription::{AccessDenied, CertificateRequired, CertificateUnknown};
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(
                AccessDenied | CertificateRequired | CertificateUnknown,
            )) => TlsError::KeyRefused { pin: self.pin, source: error },
            _ => TlsError::Failed(error),
        }
    }
}
