// SPDX-License-Identifier: Apache-2.0
//! Both ends shake hands in memory: who takes whom, and what is said to those that are refused.
#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

use std::{io, sync::Arc};

use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConfigBuilder, Connection, Error,
    HandshakeKind, ProtocolVersion, ServerConnection, WantsVerifier,
    crypto::ring::default_provider,
};
use session_tls::{
    Fingerprint, PrivateKey, RelayKeys, UnknownRelay, client_config, server_config, server_name,
};

struct Ends {
    relay: Connection,
    guest: Connection,
}

impl Ends {
    fn new(relay: ClientConfig, guest: &PrivateKey, pins: &[&PrivateKey]) -> Self {
        let pins = RelayKeys::new(pins.iter().map(|key| key.fingerprint())).unwrap();
        let relay = ClientConnection::new(Arc::new(relay), server_name()).unwrap();
        let guest = ServerConnection::new(Arc::new(server_config(guest, pins))).unwrap();
        Self { relay: relay.into(), guest: guest.into() }
    }

    /// Carries bytes until both are done or one refuses: the outcome for relay and guest.
    fn shake(&mut self) -> (Result<(), Error>, Result<(), Error>) {
        let (mut relay, mut guest) = (Ok(()), Ok(()));
        while self.relay.wants_write() || self.guest.wants_write() {
            guest = guest.and(carry(&mut self.relay, &mut self.guest));
            relay = relay.and(carry(&mut self.guest, &mut self.relay));
        }
        (relay, guest)
    }
}

fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = &bytes[..];
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

fn stranger() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
}

#[test]
fn the_right_relay_gets_in_and_both_know_whom_they_speak_with() {
    let (relay, guest) = (key(), key());
    let mut ends = Ends::new(client_config(&relay), &guest, &[&relay]);
    assert_eq!(ends.shake(), (Ok(()), Ok(())));
    assert_eq!(ends.relay.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let of = |end: &Connection| Fingerprint::of_peer(end.peer_certificates());
    assert_eq!(of(&ends.relay), Some(guest.fingerprint()));
    assert_eq!(of(&ends.guest), Some(relay.fingerprint()));
}

#[test]
fn both_keys_of_a_rotation_get_in() {
    let (old, new, guest) = (key(), key(), key());
    for relay in [&old, &new] {
        let mut ends = Ends::new(client_config(relay), &guest, &[&old, &new]);
        assert_eq!(ends.shake(), (Ok(()), Ok(())));
    }
}

#[test]
fn a_wrong_key_is_refused_and_named() {
    let (right, wrong, guest) = (key(), key(), key());
    let mut ends = Ends::new(client_config(&wrong), &guest, &[&right]);
    let (relay, guest) = ends.shake();
    assert_eq!(relay, Err(Error::AlertReceived(AlertDescription::CertificateUnknown)));
    let failure = io::Error::other(guest.unwrap_err());
    assert_eq!(UnknownRelay::behind(&failure), Some(UnknownRelay(wrong.fingerprint())));
}

#[test]
fn a_relay_that_shows_no_key_is_refused() {
    let (right, guest) = (key(), key());
    let mut config = client_config(&right);
    config.client_auth_cert_resolver = Arc::new(NoKey);
    let (relay, guest) = Ends::new(config, &guest, &[&right]).shake();
    let failure = io::Error::other(guest.unwrap_err());
    assert_eq!(failure.to_string(), "peer sent no certificates");
    assert_eq!(UnknownRelay::behind(&failure), None);
    assert_eq!(relay, Err(Error::AlertReceived(AlertDescription::CertificateRequired)));
}

#[test]
fn a_client_of_certificates_is_refused() {
    let (right, guest) = (key(), key());
    let config =
        stranger().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let (relay, guest) = Ends::new(config, &guest, &[&right]).shake();
    assert!(relay.is_err() && guest.is_err(), "{relay:?} {guest:?}");
}

#[test]
fn no_session_is_resumed() {
    let (relay, guest) = (key(), key());
    let config = client_config(&relay);
    for _ in 0..2 {
        let mut ends = Ends::new(config.clone(), &guest, &[&relay]);
        assert_eq!(ends.shake(), (Ok(()), Ok(())));
        assert_eq!(ends.relay.handshake_kind(), Some(HandshakeKind::Full));
    }
}

/// A client that answers the request for a key with none.
#[derive(Debug)]
struct NoKey;

impl rustls::client::ResolvesClientCert for NoKey {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}
