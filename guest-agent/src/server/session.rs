// SPDX-License-Identifier: Apache-2.0
//! One relay at a time: the first connection that calls has the session for as long as it lives.
//!
//! Connections carry their [`Session`] to each of their calls; calls of any other than the holder
//! are refused. Nothing is released: the session is over when the holder's connection is dropped,
//! at its EOF or when it leaves the server's pings unanswered.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use session_tls::Fingerprint;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;
use tonic::{Request, Status, service::Interceptor, transport::server::Connected};

use super::incoming::ByteStream;

/// The connection of a relay.
pub(super) struct RelayStream {
    stream: Box<dyn ByteStream>,
    session: Arc<Session>,
    /// Its place among the connections, given back with it.
    _place: Option<OwnedSemaphorePermit>,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Session {
    /// The key that the relay proved; none in the clear.
    relay: Option<Fingerprint>,
    /// Whether it was said that this connection is one too many.
    refused: AtomicBool,
}

/// Lets one session call.
#[derive(Clone, Debug, Default)]
pub(super) struct OneSession {
    holder: Arc<Mutex<Weak<Session>>>,
}

// === impl RelayStream ===

impl RelayStream {
    pub(super) fn in_the_clear(stream: Box<dyn ByteStream>) -> Self {
        Self::new(stream, None)
    }

    pub(super) fn over_tls(stream: TlsStream<Box<dyn ByteStream>>) -> Self {
        let relay = Fingerprint::of_peer(stream.get_ref().1.peer_certificates());
        Self::new(Box::new(stream), relay)
    }

    fn new(stream: Box<dyn ByteStream>, relay: Option<Fingerprint>) -> Self {
        let session = Arc::new(Session { relay, refused: AtomicBool::new(false) });
        Self { stream, session, _place: None }
    }

    pub(super) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }
}

impl Connected for RelayStream {
    /// Weak, so that a call that ends late does not hold the session.
    type ConnectInfo = Weak<Session>;

    fn connect_info(&self) -> Weak<Session> {
        Arc::downgrade(&self.session)
    }
}

impl AsyncRead for RelayStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for RelayStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// === impl OneSession ===

impl OneSession {
    fn admit(&self, caller: &Arc<Session>) -> Result<(), Status> {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        match holder.upgrade() {
            Some(holder) if Arc::ptr_eq(&holder, caller) => Ok(()),
            Some(_) => {
                if !caller.refused.swap(true, Ordering::Relaxed) {
                    let relay = caller.relay.map(tracing::field::display);
                    tracing::warn!(
                        relay,
                        "a second relay is refused: the first one's session lives"
                    );
                }
                Err(Status::failed_precondition(
                    "another relay has a session with this guest; a guest obeys one at a time, stop \
                     the other one",
                ))
            }
            None => {
                let relay = caller.relay.map(tracing::field::display);
                tracing::info!(relay, "session");
                *holder = Arc::downgrade(caller);
                Ok(())
            }
        }
    }
}

impl Interceptor for OneSession {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let caller = request.extensions().get::<Weak<Session>>().and_then(Weak::upgrade);
        let caller = caller.ok_or_else(|| Status::unavailable("the connection ends"))?;
        self.admit(&caller)?;
        Ok(request)
    }
}
