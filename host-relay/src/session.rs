// SPDX-License-Identifier: Apache-2.0
//! The session with one guest: one task for as long as the sandbox exists.
//!
//! Owns the connection, the ledger of what the guest has, the key that the guest showed first, and
//! the last event seen. The desired state flows in through a watch channel; lists of containers go
//! to the reconciler, reports to the hub, the view to the API. A session never ends by itself: when
//! the guest goes away (EOF) it dials again, with a jittered and capped back-off that begins anew
//! after each connection that lasted. Sessions take turns to connect (`turns.rs`).

mod connection;
mod guest_events;
mod memory;
mod posture;
mod residues;
mod texts;
mod turns;

use std::{collections::BTreeSet, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use kadapter_proto::guest::v1::{
    HandshakeReply, HandshakeRequest, StatusReply, StatusRequest, guest_client::GuestClient,
};
use policy_model::{
    eval::SUPPORTED,
    limits::{MAX_EVENT_BYTES, MAX_MESSAGE_BYTES},
};
use tokio::sync::{mpsc, watch};
use tonic::{Code, Status, transport::Channel};
use tracing::{debug, error, info, warn};

use memory::{ChangedKey, Memory};
pub use residues::Told;
pub use turns::{AT_ONCE, LONGEST, Turns};

use crate::{
    events::Hub,
    reconcile::ContainersReport,
    sandbox::{Address, InvalidReport},
    status::{Desired, GuestPosture, SandboxView},
    transport::{ConnectError, Identity, connect, connect_in_the_clear},
};

/// A guest is up some seconds after its sandbox, and its first container waits at most 8 s.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// A quarter of the time for which a container waits.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// Guests answer in milliseconds; the first call under emulation takes half a second.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// What a session works with.
#[derive(Debug)]
pub struct Session {
    /// Where the guest is.
    pub address: Address,
    /// Who the relay is; none to speak in the clear, in tests.
    pub identity: Option<Identity>,
    /// Shared with all other sessions.
    pub turns: Turns,
    /// Residues that are in the log already; shared with all other sessions.
    pub told: Told,
    /// What its containers should have.
    pub desired: watch::Receiver<Desired>,
    /// Where lists of containers go.
    pub containers: mpsc::Sender<ContainersReport>,
    /// Where the state is shown.
    pub view: watch::Sender<SandboxView>,
    /// Where events go.
    pub hub: Hub,
}

/// Bytes of a reply, or of a message of a stream, but for `Status`: events are the longest. Two bytes of
/// a message make an empty text or message in memory, which is fifty times as long.
const MAX_REPLY_BYTES: usize = MAX_EVENT_BYTES;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It was never there.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error("{call} fails: {code}: {message}")]
    Call {
        /// Which.
        call: &'static str,
        /// Kind of failure.
        code: Code,
        /// Why.
        message: String,
    },
    /// A call was not answered.
    #[error("{0} is not answered within {CALL_DEADLINE:?}")]
    Silent(&'static str),
    /// The guest closed a stream that has no end.
    #[error("the guest ends {0}")]
    Ended(&'static str),
    /// The guest says what it cannot mean.
    #[error(transparent)]
    Report(#[from] InvalidReport),
    /// It is another guest than before.
    #[error(transparent)]
    Impostor(#[from] ChangedKey),
    /// A rule set could not be brought over.
    #[error("a rule set cannot be sent: {0}")]
    Push(String),
    /// The relay stops.
    #[error("the relay stops")]
    Stopping,
}

/// Runs until the reconciler is gone.
pub async fn run(mut session: Session) {
    let mut memory = Memory::default();
    let mut delays = back_off();
    loop {
        let ended = session.once(&mut memory).await;
        let Err(error) = ended else { return };
        session.show_loss(&error);
        let no_containers = (session.address.clone(), BTreeSet::new());
        if session.containers.send(no_containers).await.is_err() {
            return;
        }
        if memory.reached.take().is_some_and(|since| since.elapsed() > MAX_DELAY) {
            delays = back_off();
        }
        tokio::time::sleep(delays.next().unwrap_or(MAX_DELAY)).await;
    }
}

// === impl Session ===

impl Session {
    /// One connection, from dialling to its loss. Ends well only if the relay stops.
    async fn once(&mut self, memory: &mut Memory) -> Result<(), SessionError> {
        let (channel, key) = match &self.identity {
            Some(identity) => {
                let connect = connect(&self.address, identity);
                let (channel, key) = self.turns.take(connect).await?;
                (channel, Some(key))
            }
            None => (connect_in_the_clear(&self.address).await?, None),
        };
        let mut client = GuestClient::new(channel).max_decoding_message_size(MAX_REPLY_BYTES);
        let guest = handshake(&mut client).await?;
        memory.recognize(texts::shown(&guest.boot_id), key)?;
        let HandshakeReply { version, features, boot_id, kernel_release } = guest;
        let [version, boot_id, kernel_release] =
            [version, boot_id, kernel_release].map(|text| texts::shown(&text).to_owned());
        let key = key.map(tracing::field::display);
        info!(version, boot_id, kernel = kernel_release, key, "connected");
        self.view.send_modify(|view| {
            view.connected = true;
            view.error.clear();
            view.guest_version = version;
            view.boot_id = boot_id;
        });
        let connection = connection::Connection::new(self, client, features);
        match connection.run(memory).await {
            Err(SessionError::Stopping) => Ok(()),
            ended => ended,
        }
    }

    fn show_loss(&self, error: &SessionError) {
        let text = with_sources(error);
        let was_connected = self.view.borrow().connected;
        let is_news = was_connected || self.view.borrow().error != text;
        if matches!(error, SessionError::Impostor(_)) && is_news {
            error!(error = text, "not connected: something else answers in place of the guest");
        } else if was_connected {
            warn!(error = text, "connection lost");
        } else if is_news {
            info!(error = text, "not connected");
        } else {
            debug!(error = text, "not connected");
        }
        self.view.send_modify(|view| {
            view.connected = false;
            view.error = text;
            view.posture = GuestPosture::default();
            view.containers.clear();
        });
    }
}

async fn handshake(client: &mut GuestClient<Channel>) -> Result<HandshakeReply, SessionError> {
    let request = HandshakeRequest {
        version: env!("CARGO_PKG_VERSION").into(),
        features: SUPPORTED.iter().map(ToString::to_string).collect(),
    };
    answered("Handshake", client.handshake(request)).await
}

/// What the guest promises, and which rule sets it has.
async fn ask_status(client: &GuestClient<Channel>) -> Result<StatusReply, SessionError> {
    let mut client = client.clone().max_decoding_message_size(MAX_MESSAGE_BYTES);
    answered("Status", client.status(StatusRequest {})).await
}

/// One unary call with a deadline.
async fn answered<T>(
    call: &'static str,
    future: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, SessionError> {
    let reply = tokio::time::timeout(CALL_DEADLINE, future).await;
    let reply = reply.map_err(|_| SessionError::Silent(call))?;
    reply.map(tonic::Response::into_inner).map_err(|status| failed(call, &status))
}

fn failed(call: &'static str, status: &Status) -> SessionError {
    SessionError::Call { call, code: status.code(), message: status.message().into() }
}

fn back_off() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(MAX_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}

/// An error with its causes, in one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_cap() {
        let delays: Vec<_> = back_off().take(20).collect();
        assert!(delays[0] >= FIRST_DELAY && delays[0] <= 2 * FIRST_DELAY);
        assert!(delays.iter().all(|delay| *delay <= 2 * MAX_DELAY));
        assert!(delays[19] >= MAX_DELAY);
    }
}
