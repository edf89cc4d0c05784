// SPDX-License-Identifier: Apache-2.0
//! The short name of a public key. Pure.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::pki_types::CertificateDer;

/// SHA-256 of a public key in its DER form (`SubjectPublicKeyInfo`), as
/// `openssl pkey -pubout -outform DER | sha256sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

/// Why a text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fingerprint of a key; write the SHA-256 of the public key as 64 hexadecimal digits \
     or in base64, as `kadapter-relay pin` prints it"
)]
pub struct InvalidFingerprint(String);

// === impl Fingerprint ===

impl Fingerprint {
    /// Of a public key in DER.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, public_key).as_ref());
        Self(bytes)
    }

    /// Of the peer of a connection, by the keys that it has proved.
    #[must_use]
    pub fn of_peer(proved: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        proved?.first().map(|public_key| Self::of(public_key))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let bytes = from_hex(text).or_else(|| BASE64_STANDARD.decode(text).ok()?.try_into().ok());
        // What is shown may come from a kernel command line of any length.
        bytes.map(Self).ok_or_else(|| InvalidFingerprint(text.chars().take(80).collect()))
    }
}

fn from_hex(text: &str) -> Option<[u8; SHA256_OUTPUT_LEN]> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks() else { return None };
    let bytes: Vec<_> = pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect();
    bytes.try_into().ok()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown_and_in_base64() {
        let fingerprint = Fingerprint::of(b"abc");
        assert_eq!(fingerprint.to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(fingerprint));
        assert_eq!(ABC.to_uppercase().parse(), Ok(fingerprint));
        assert_eq!("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=".parse(), Ok(fingerprint));
    }

    #[test]
    fn other_texts_are_none() {
        let odd = &ABC[1..];
        let signed = format!("+{}", &ABC[1..]);
        let wide = "１".repeat(64);
        for text in ["", "abc", odd, &format!("{ABC}0"), &signed, &wide, "YWJj", &"x".repeat(9000)]
        {
            let error = text.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(error.len() < 400, "{error}");
        }
    }
}
