// SPDX-License-Identifier: Apache-2.0
//! The relay's end: a client that shows its key and takes any guest that proves to have one.
//!
//! Which key a guest should have is the caller's business, after the handshake: it is known only
//! once the guest has said which boot it is.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};

use crate::{
    PrivateKey,
    signatures::{Signatures, provider, refuse_tls12},
};

/// Connects as the relay with this key.
#[must_use]
pub fn client_config(key: &PrivateKey) -> ClientConfig {
    let provider = provider();
    let verifier = AnyGuest { signatures: Signatures::of(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            key.certified(),
        )));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config
}

/// What rustls calls every guest. It is neither sent nor compared.
#[must_use]
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("guest").expect("a word is a valid name")
}

#[derive(Debug)]
struct AnyGuest {
    signatures: Signatures,
}

// === impl AnyGuest ===

impl ServerCertVerifier for AnyGuest {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
