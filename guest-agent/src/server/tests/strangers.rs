// SPDX-License-Identifier: Apache-2.0
//! Who gets in over TLS, who does not, and one relay at a time.

use std::{path::PathBuf, sync::Arc};

use session_tls::{PrivateKey, RelayKeys, client_config, server_config, server_name};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};

use super::*;

/// A guest that obeys the relays with these keys.
struct Guarded {
    socket: PathBuf,
    _ends: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

impl Guarded {
    fn start(relays: &[&PrivateKey]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("guest.sock");
        let relays = RelayKeys::new(relays.iter().map(|key| key.fingerprint())).unwrap();
        let trust = Trust::Relays(Arc::new(server_config(&key(), relays)));
        let (registry, _) = registry();
        let (_, posture) = watch::channel(Posture::Enforcing);
        let (ends, shutdown) = watch::channel(false);
        let (events, _) = events::channel(registry.clone(), Standing::new().0);
        let questions = Questions::default();
        let service = GuestService {
            registry,
            posture,
            events,
            questions,
            envelopes: Envelopes::default(),
            shutdown,
        };
        tokio::spawn(serve(service, (Listener::unix(&socket).unwrap(), trust), pending()));
        Self { socket, _ends: ends, _directory: directory }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// As far as TLS goes: an error is what the guest answers to the key.
    async fn shake(&self, config: ClientConfig) -> io::Result<TlsStream<UnixStream>> {
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(server_name(), self.connect().await).await?;
        if within(stream.fill_buf()).await?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(stream)
    }

    async fn relay(&self, key: &PrivateKey) -> GuestClient<Channel> {
        let mut stream = Some(TokioIo::new(self.shake(client_config(key)).await.unwrap()));
        let once = tower::service_fn(move |_| {
            let stream = stream.take().ok_or(io::ErrorKind::NotConnected);
            async move { Ok::<_, io::Error>(stream?) }
        });
        let endpoint = Endpoint::from_static("http://guest");
        GuestClient::new(endpoint.connect_with_connector(once).await.unwrap())
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

async fn status(relay: &mut GuestClient<Channel>) -> Result<(), Status> {
    within(relay.status(StatusRequest {})).await.map(drop)
}

/// Calls until the guest has seen that the relay of before is gone.
async fn becomes_admitted(relay: &mut GuestClient<Channel>) {
    let admitted = async {
        while let Err(refused) = status(relay).await {
            assert_eq!(refused.code(), Code::FailedPrecondition);
            tokio::task::yield_now().await;
        }
    };
    within(admitted).await;
}

/// Waits until the guest hangs up, whatever it says before and however it does.
async fn hung_up(mut stream: UnixStream) {
    let _ = within(stream.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn both_keys_of_a_rotation_get_in_and_no_third() {
    let (old, new, wrong) = (key(), key(), key());
    let guest = Guarded::start(&[&old, &new]);
    for relay in [&old, &new] {
        becomes_admitted(&mut guest.relay(relay).await).await;
    }
    let error = guest.shake(client_config(&wrong)).await.unwrap_err();
    assert!(error.to_string().contains("CertificateUnknown"), "{error}");
}

#[tokio::test]
async fn a_client_in_the_clear_is_hung_up_on() {
    let relay = key();
    let guest = Guarded::start(&[&relay]);
    let mut stream = guest.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    hung_up(stream).await;
    status(&mut guest.relay(&relay).await).await.unwrap();
}

#[tokio::test]
async fn a_silent_client_is_hung_up_on_in_time() {
    let guest = Guarded::start(&[&key()]);
    let started = Instant::now();
    hung_up(guest.connect().await).await;
    assert!(started.elapsed() >= admission::HANDSHAKE_DEADLINE);
}

#[tokio::test]
async fn silent_clients_push_each_other_out_and_never_a_relay() {
    let relay = key();
    let guest = Guarded::start(&[&relay]);
    let started = Instant::now();
    let first = guest.connect().await;
    let mut silent = Vec::new();
    for _ in 0..2 * admission::MAX_HANDSHAKES {
        silent.push(guest.connect().await);
    }
    status(&mut guest.relay(&relay).await).await.unwrap();
    hung_up(first).await;
    assert!(started.elapsed() < admission::HANDSHAKE_DEADLINE, "it was not the deadline");
}

#[tokio::test]
async fn with_the_right_key_too_there_are_only_so_many_connections() {
    let relay = key();
    let guest = Guarded::start(&[&relay]);
    let mut connections = Vec::new();
    for _ in 0..admission::MAX_CONNECTIONS {
        connections.push(guest.shake(client_config(&relay)).await.unwrap());
    }
    guest.shake(client_config(&relay)).await.unwrap_err();
    connections.pop();
    let again = async { while guest.shake(client_config(&relay)).await.is_err() {} };
    within(again).await;
}

#[tokio::test]
async fn a_second_relay_is_refused_until_the_first_is_gone() {
    let relay = key();
    let guest = Guarded::start(&[&relay]);
    let mut first = guest.relay(&relay).await;
    // Not the first that connects, but the first that calls.
    let mut second = guest.relay(&relay).await;
    status(&mut first).await.unwrap();
    let refused = status(&mut second).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("another relay"), "{refused}");
    status(&mut first).await.unwrap();
    drop(first);
    becomes_admitted(&mut second).await;
    let third = status(&mut guest.relay(&relay).await).await.unwrap_err();
    assert_eq!(third.code(), Code::FailedPrecondition);
}
