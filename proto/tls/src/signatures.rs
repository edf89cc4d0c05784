// SPDX-License-Identifier: Apache-2.0
//! That the peer has the private key of the public key it shows. Both sides check it alike.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
};

/// Signatures that can be checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signatures(WebPkiSupportedAlgorithms);

/// The one implementation of ciphers, on both sides.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

// === impl Signatures ===

impl Signatures {
    pub(crate) fn of(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }

    pub(crate) fn verify(
        self,
        message: &[u8],
        public_key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let public_key = SubjectPublicKeyInfoDer::from(&**public_key);
        verify_tls13_signature_with_raw_key(message, &public_key, signature, &self.0)
    }

    pub(crate) fn schemes(self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Of an older version of TLS, which is never agreed on.
pub(crate) fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken".into()))
}
