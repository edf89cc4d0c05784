// SPDX-License-Identifier: Apache-2.0
//! Strangers at both ends of TLS: bytes that are no handshake, keys that are none or not theirs.
//!
//! Random numbers of the handshakes are rustls' own, so that an execution replays in all but those.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection,
    client::AlwaysResolvesClientRawPublicKeys,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::AlwaysResolvesServerRawPublicKeys,
    sign::{CertifiedKey, SigningKey},
};
use session_tls::{Fingerprint, PrivateKey, RelayKeys, client_config, server_config, server_name};

use super::keys::{ECDSA, ED25519};
use crate::{entropy::Entropy, grammar::Grammar};

/// An end answers a stranger with one flight or an alert, and sends no more for more bytes.
const MAX_ANSWER: usize = 4096;

/// Flights in each direction; a handshake has two, and an alert.
const MAX_ROUNDS: usize = 8;

/// Heads of records and messages, extensions (raw public keys, groups, versions), lengths.
const RECORD_WORDS: &[&[u8]] = &[
    b"\x16\x03\x03",
    b"\x16\x03\x01",
    b"\x14\x03\x03\x00\x01\x01",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x17\x03\x03",
    b"\x01\x00",
    b"\x02\x00",
    b"\x0b\x00",
    b"\x00\x13\x00\x02\x01\x02",
    b"\x00\x14\x00\x02\x01\x02",
    b"\x00\x2b",
    b"\x00\x33",
    b"\x00\x29",
    b"\x00\x00",
    b"\x00\x01",
    b"\x40\x00",
    b"\xff\xff",
    b"\xff\xff\xff",
];

/// Heads, types and identifiers of DER, as a public key has them.
const DER_WORDS: &[&[u8]] = &[
    b"\x30",
    b"\x30\x80",
    b"\x30\x82\xff\xff",
    b"\x03\x42\x00",
    b"\x03\x00",
    b"\x05\x00",
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
    b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
    b"\x06\x03\x2b\x65\x70",
    b"\x04",
    b"\x02",
    b"\x00",
    b"\xff",
];

/// A guest and a relay with keys that stay.
struct Parties {
    guest: Arc<ServerConfig>,
    relay: Arc<ClientConfig>,
    signers: [Arc<dyn SigningKey>; 2],
    /// The public halves of the signers.
    public_keys: [Vec<u8>; 2],
    /// What relay and guest say first.
    flights: [Vec<u8>; 2],
}

static PARTIES: LazyLock<Parties> = LazyLock::new(Parties::new);

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    // Handshakes with keys take a thousand times as long as bytes that are none.
    if entropy.below(16) == 15 {
        check_key(&mut entropy);
    } else {
        check_bytes(&mut entropy);
    }
}

/// Bytes of a stranger: no end of them makes a handshake, and none makes an end talkative.
fn check_bytes(entropy: &mut Entropy<'_>) {
    let [hello, answer] = &PARTIES.flights;
    let (mut end, valid) = match entropy.below(2) {
        0 => (PARTIES.guest(), hello),
        _ => (PARTIES.relay(), answer),
    };
    let bytes = Grammar { valid: &[valid], words: RECORD_WORDS }.write(entropy);
    let _ = take_out(&mut end);
    let _ = feed(&mut end, &bytes);
    assert!(end.is_handshaking(), "a stranger is through");
    assert!(take_out(&mut end).len() <= MAX_ANSWER, "it says more and more");
}

/// A stranger shows any public key, and signs with one that may be another.
fn check_key(entropy: &mut Entropy<'_>) {
    let signer = entropy.below(2);
    let own = &PARTIES.public_keys[signer];
    let valid: Vec<&[u8]> = PARTIES.public_keys.iter().map(Vec::as_slice).collect();
    let shown = Grammar { valid: &valid, words: DER_WORDS }.write(entropy);
    let certified = CertifiedKey::new(
        vec![CertificateDer::from(shown.clone())],
        PARTIES.signers[signer].clone(),
    );
    let is_relay = entropy.below(2) == 0;
    let (mut relay, mut guest) =
        if is_relay { PARTIES.false_relay(certified) } else { PARTIES.false_guest(certified) };
    for _ in 0..MAX_ROUNDS {
        let (sent, answered) = (take_out(&mut relay), take_out(&mut guest));
        let _ = (feed(&mut guest, &sent), feed(&mut relay, &answered));
    }
    let judge = if is_relay { &guest } else { &relay };
    if judge.is_handshaking() {
        assert_ne!(&shown, own, "the right key is refused");
    } else {
        assert_eq!(&shown, own, "it has not proved the key that it shows");
        assert_eq!(Fingerprint::of_peer(judge.peer_certificates()), Some(Fingerprint::of(own)));
    }
}

// === impl Parties ===

impl Parties {
    fn new() -> Self {
        let read = |pem| PrivateKey::from_pem(pem).expect("it is a key");
        let (guest, relay) = (read(ECDSA), read(ED25519));
        let pins = RelayKeys::new([relay.fingerprint()]).expect("it is one");
        let signers = [ECDSA, ED25519].map(|pem| {
            let key = PrivateKeyDer::from_pem_slice(pem).expect("it is a key");
            any_supported_type(&key).expect("it can sign")
        });
        let public_keys = signers
            .each_ref()
            .map(|signer| signer.public_key().expect("it has a public half").to_vec());
        let mut parties = Self {
            guest: Arc::new(server_config(&guest, pins)),
            relay: Arc::new(client_config(&relay)),
            signers,
            public_keys,
            flights: Default::default(),
        };
        let (mut relay, mut guest) = (parties.relay(), parties.guest());
        let hello = take_out(&mut relay);
        feed(&mut guest, &hello).expect("it is a relay's");
        parties.flights = [hello, take_out(&mut guest)];
        parties
    }

    fn guest(&self) -> Connection {
        ServerConnection::new(self.guest.clone()).expect("its configuration is valid").into()
    }

    fn relay(&self) -> Connection {
        let relay = ClientConnection::new(self.relay.clone(), server_name());
        relay.expect("its configuration is valid").into()
    }

    /// A relay that shows this, and a guest that is configured to obey who has it.
    fn false_relay(&self, shown: CertifiedKey) -> (Connection, Connection) {
        let pin = shown.cert.first().map(|key| Fingerprint::of(key));
        let guest = PrivateKey::from_pem(ECDSA).expect("it is a key");
        let pins = RelayKeys::new(pin).expect("it is one");
        let guest = ServerConnection::new(Arc::new(server_config(&guest, pins)));
        let mut config = ClientConfig::clone(&self.relay);
        let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::new(shown));
        config.client_auth_cert_resolver = Arc::new(resolver);
        let relay = ClientConnection::new(Arc::new(config), server_name());
        (relay.expect("it is valid").into(), guest.expect("it is valid").into())
    }

    /// A relay, and a guest that shows this.
    fn false_guest(&self, shown: CertifiedKey) -> (Connection, Connection) {
        let mut config = ServerConfig::clone(&self.guest);
        config.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(shown)));
        let guest = ServerConnection::new(Arc::new(config));
        (self.relay(), guest.expect("it is valid").into())
    }
}

/// What an end has to say.
fn take_out(end: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while end.wants_write() {
        end.write_tls(&mut bytes).expect("memory takes everything");
    }
    bytes
}

fn feed(end: &mut Connection, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let read = end.read_tls(&mut bytes).unwrap_or_else(|error: io::Error| {
            panic!("an end with an error reads on instead of saying so: {error}")
        });
        end.process_new_packets()?;
        if read == 0 {
            break;
        }
    }
    Ok(())
}
