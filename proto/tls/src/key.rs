// SPDX-License-Identifier: Apache-2.0
//! A private key. It is made or read, shown only to rustls and to its own file.

pub(crate) mod file;

use std::{fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::Fingerprint;

/// Columns of PEM (RFC 7468, section 2).
const PEM_COLUMNS: usize = 64;

/// A private key with its public half.
#[derive(Clone)]
pub struct PrivateKey {
    der: Arc<PrivateKeyDer<'static>>,
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

/// Why there is no new key.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the kernel has no random numbers for a key")]
pub struct GenerateKeyError;

/// Why bytes are no private key.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKey {
    /// No PEM with a private key.
    #[error("no private key in PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// A key that cannot sign here.
    #[error("the private key cannot be used; Ed25519, ECDSA (P-256, P-384) and RSA can")]
    Unusable(#[source] rustls::Error),
    /// The public half cannot be told.
    #[error("the private key does not tell its public half")]
    NoPublicHalf,
}

// === impl PrivateKey ===

impl PrivateKey {
    /// A new ECDSA key on P-256. An Ed25519 key of ring has a form that OpenSSL 3.0 does not read.
    ///
    /// # Errors
    /// If the kernel gives no random numbers.
    pub fn generate() -> Result<Self, GenerateKeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let document = document.map_err(|_| GenerateKeyError)?;
        let der = PrivatePkcs8KeyDer::from(document.as_ref().to_vec());
        Ok(Self::from_der(der.into()).expect("a key of ring is one for rustls over ring"))
    }

    /// The first private key of a PEM file.
    ///
    /// # Errors
    /// If there is none that can be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        Self::from_der(PrivateKeyDer::from_pem_slice(pem).map_err(InvalidKey::Pem)?)
    }

    fn from_der(der: PrivateKeyDer<'static>) -> Result<Self, InvalidKey> {
        let key = any_supported_type(&der).map_err(InvalidKey::Unusable)?;
        let public_key = key.public_key().ok_or(InvalidKey::NoPublicHalf)?.to_vec();
        let fingerprint = Fingerprint::of(&public_key);
        // Of a raw public key, the "certificate" is the key itself.
        let certified = CertifiedKey::new(vec![CertificateDer::from(public_key)], key);
        Ok(Self { der: Arc::new(der), certified: Arc::new(certified), fingerprint })
    }

    /// Of the public half.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn to_pem(&self) -> String {
        let label = match *self.der {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let text = BASE64_STANDARD.encode(self.der.secret_der());
        let mut pem = format!("-----BEGIN {label}-----\n");
        for line in text.as_bytes().chunks(PEM_COLUMNS) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem + &format!("-----END {label}-----\n")
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519`; its public half in DER has the SHA-256 below.
    const OPENSSL: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIGaQFS1akCx1+ucxQT10dNhl6kLwb/4IIt6zvRdck7he
-----END PRIVATE KEY-----
";
    const OF_OPENSSL: &str = "364dd400133771264014ce44f6150a7e35d9eefe120260fa5d2e42820256ab72";

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!(again.fingerprint(), key.fingerprint());
        assert!(key.to_pem().lines().all(|line| line.len() <= PEM_COLUMNS));
    }

    #[test]
    fn keys_differ() {
        let keys = [PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap()];
        assert_ne!(keys[0].fingerprint(), keys[1].fingerprint());
    }

    #[test]
    fn keys_of_openssl_are_read_and_named_as_openssl_does() {
        let key = PrivateKey::from_pem(OPENSSL.as_bytes()).unwrap();
        assert_eq!(key.fingerprint().to_string(), OF_OPENSSL);
    }

    #[test]
    fn other_files_are_refused_and_keys_are_not_shown() {
        let broken = OPENSSL.replace('M', "N");
        for text in ["", "key", "-----BEGIN PRIVATE KEY-----\n", &broken] {
            assert!(PrivateKey::from_pem(text.as_bytes()).is_err(), "{text}");
        }
        let shown = format!("{:?}", PrivateKey::generate().unwrap());
        assert!(shown.contains("fingerprint") && !shown.contains("der"), "{shown}");
    }
}
