// SPDX-License-Identifier: Apache-2.0
//! From a connection to a relay: one task accepts, and lets in who proves a configured key.
//!
//! Streams of bytes flow in, [`RelayStream`]s flow out to the server. Anybody on the node may
//! connect, so a handshake has a deadline, the number of them is bounded, and what is logged of
//! strangers is too. Calls and rule sets are not its business.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use session_tls::UnknownRelay;
use tokio::{
    sync::{Semaphore, TryAcquireError, mpsc},
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use super::{
    incoming::{AcceptError, ByteStream, Listener},
    session::RelayStream,
};
use crate::{reason, trust::Trust};

/// A handshake is two flights and takes 30 ms in a guest under emulation. Relays give up after two
/// seconds; a second more is for two clocks and a queue.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);

/// A handshake holds some 40 KiB, so that strangers cost less than a MiB. A relay needs one. Beyond
/// it the oldest is given up: to push out a relay, strangers have to connect sixteen times within
/// its two flights, again and again.
pub(super) const MAX_HANDSHAKES: usize = 16;

/// Connections that are let in. A relay has one; those that it lost without an end stay until the
/// keep-alive of 30 s sees it, and it dials every two seconds at most.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// Without memory or descriptors `accept` fails at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Refusals that are logged in a period; the rest are counted. A misconfigured relay tries every
/// two seconds or so: half of its attempts are seen.
const MAX_COMPLAINTS: u32 = 15;
const COMPLAINTS_PERIOD: Duration = Duration::from_secs(60);

/// Relays that wait for the server, which takes them at once.
const QUEUE: usize = 1;

/// Why a connection is not let in.
#[derive(Debug, thiserror::Error)]
enum RefuseError {
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Unknown(#[from] UnknownRelay),
    #[error("the TLS handshake fails")]
    Handshake(#[source] io::Error),
    #[error("the TLS handshake takes more than {HANDSHAKE_DEADLINE:?}")]
    Deadline,
    #[error("relays have {MAX_CONNECTIONS} connections already")]
    TooMany(#[source] TryAcquireError),
    #[error("{MAX_HANDSHAKES} newer connections came during the TLS handshake")]
    PushedOut(#[source] JoinError),
}

type Handshake = Result<RelayStream, RefuseError>;

struct Admission {
    listener: Listener,
    trust: Trust,
    admitted: mpsc::Sender<io::Result<RelayStream>>,
    handshakes: JoinSet<Handshake>,
    /// Those of `handshakes` that go on, oldest first.
    under_way: VecDeque<AbortHandle>,
    /// Room for connections.
    room: Arc<Semaphore>,
    complaints: Complaints,
}

/// What was logged of strangers lately.
struct Complaints {
    since: Instant,
    count: u32,
}

/// Relays that connect, until the stream is dropped.
pub(super) fn admit(listener: Listener, trust: Trust) -> ReceiverStream<io::Result<RelayStream>> {
    let (admitted, stream) = mpsc::channel(QUEUE);
    let admission = Admission {
        listener,
        trust,
        admitted,
        handshakes: JoinSet::new(),
        under_way: VecDeque::new(),
        room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        complaints: Complaints { since: Instant::now(), count: 0 },
    };
    tokio::spawn(admission.run().instrument(tracing::info_span!("admission")));
    ReceiverStream::new(stream)
}

// === impl Admission ===

impl Admission {
    async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.admitted.closed() => return,
                accepted = self.listener.accept() => self.take(accepted).await,
                Some(ended) = self.handshakes.join_next() => self.end(ended).await,
            }
        }
    }

    async fn take(&mut self, accepted: Result<Box<dyn ByteStream>, AcceptError>) {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error @ AcceptError::NotTheHost(_)) => return self.complaints.note(&error.into()),
            Err(error @ AcceptError::Socket(_)) => {
                self.complaints.note(&error.into());
                return sleep(ACCEPT_PAUSE).await;
            }
        };
        self.under_way.retain(|handshake| !handshake.is_finished());
        if self.under_way.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.abort();
        }
        let handshake = handshake(stream, self.trust.clone());
        self.under_way.push_back(self.handshakes.spawn(handshake.in_current_span()));
    }

    async fn end(&mut self, ended: Result<Handshake, JoinError>) {
        let relay = ended.unwrap_or_else(|aborted| Err(RefuseError::PushedOut(aborted)));
        let relay = relay.and_then(|relay| {
            let place = Arc::clone(&self.room).try_acquire_owned();
            place.map(|place| relay.holding(place)).map_err(RefuseError::TooMany)
        });
        match relay {
            // Fails if the server ends, and so does this then.
            Ok(relay) => drop(self.admitted.send(Ok(relay)).await),
            Err(error) => self.complaints.note(&error),
        }
    }
}

async fn handshake(stream: Box<dyn ByteStream>, trust: Trust) -> Handshake {
    let config = match trust {
        Trust::Relays(config) => config,
        Trust::Anybody => return Ok(RelayStream::in_the_clear(stream)),
    };
    let accepted = timeout(HANDSHAKE_DEADLINE, TlsAcceptor::from(config).accept(stream)).await;
    let stream = accepted.map_err(|_| RefuseError::Deadline)??;
    Ok(RelayStream::over_tls(stream))
}

// === impl RefuseError ===

impl From<io::Error> for RefuseError {
    fn from(failure: io::Error) -> Self {
        UnknownRelay::behind(&failure).map_or(Self::Handshake(failure), Self::Unknown)
    }
}

// === impl Complaints ===

impl Complaints {
    fn note(&mut self, error: &RefuseError) {
        if self.since.elapsed() >= COMPLAINTS_PERIOD {
            let unlogged = self.count.saturating_sub(MAX_COMPLAINTS);
            if unlogged > 0 {
                tracing::warn!(unlogged, "more connections were refused");
            }
            *self = Self { since: Instant::now(), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        if self.count <= MAX_COMPLAINTS {
            tracing::warn!(reason = reason::of(error), "connection refused");
        }
    }
}
