// SPDX-License-Identifier: Apache-2.0
//! The guest's end: a server that takes the relays it was configured with, and nobody else.

use std::{io, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};

use crate::{
    Fingerprint, PrivateKey,
    signatures::{Signatures, provider, refuse_tls12},
};

/// The relay's key, and the one that will follow it.
pub const MAX_RELAY_KEYS: usize = 2;

/// Keys of the relays that a guest obeys: one, or two while they are rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayKeys(Vec<Fingerprint>);

/// Why keys cannot be those of the relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRelayKeys {
    /// A guest without any would obey nobody.
    #[error("no relay's key is configured")]
    None,
    /// More are a mistake: old ones must be dropped.
    #[error("{0} relay keys are configured, at most {MAX_RELAY_KEYS} are allowed, for rotation")]
    TooMany(usize),
}

/// A peer proved a key that is none of the relays'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {0} is not configured as a relay's")]
pub struct UnknownRelay(pub Fingerprint);

/// Accepts the relays with these keys, as the guest with this one.
#[must_use]
pub fn server_config(key: &PrivateKey, relays: RelayKeys) -> ServerConfig {
    let provider = provider();
    let verifier = PinnedRelays { relays, signatures: Signatures::of(&provider) };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

#[derive(Debug)]
struct PinnedRelays {
    relays: RelayKeys,
    signatures: Signatures,
}

// === impl RelayKeys ===

impl RelayKeys {
    /// Repeated keys count once.
    ///
    /// # Errors
    /// If there are none, or too many.
    pub fn new(keys: impl IntoIterator<Item = Fingerprint>) -> Result<Self, InvalidRelayKeys> {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        match keys.len() {
            0 => Err(InvalidRelayKeys::None),
            1..=MAX_RELAY_KEYS => Ok(Self(keys)),
            more => Err(InvalidRelayKeys::TooMany(more)),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fingerprint> {
        self.0.iter()
    }
}

// === impl UnknownRelay ===

impl UnknownRelay {
    /// What a handshake failed with, if it was this: rustls itself shows it for programmers only.
    #[must_use]
    pub fn behind(failure: &io::Error) -> Option<Self> {
        let failure = failure.get_ref()?.downcast_ref::<Error>()?;
        let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = failure else {
            return None;
        };
        cause.downcast_ref().copied()
    }
}

// === impl PinnedRelays ===

impl ClientCertVerifier for PinnedRelays {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        public_key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let presented = Fingerprint::of(public_key);
        if self.relays.0.contains(&presented) {
            return Ok(ClientCertVerified::assertion());
        }
        let error = OtherError(Arc::new(UnknownRelay(presented)));
        Err(CertificateError::Other(error).into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        public_key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(message, public_key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_two_keys_are_configured() {
        let keys: Vec<_> = [b"a", b"b", b"c"].map(|key| Fingerprint::of(key)).into();
        assert_eq!(RelayKeys::new([]), Err(InvalidRelayKeys::None));
        assert_eq!(RelayKeys::new(keys.clone()), Err(InvalidRelayKeys::TooMany(3)));
        let twice = [keys[0], keys[1], keys[0]];
        assert_eq!(RelayKeys::new(twice).unwrap().iter().count(), 2);
    }
}
