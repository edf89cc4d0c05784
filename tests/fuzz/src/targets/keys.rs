// SPDX-License-Identifier: Apache-2.0
//! Keys as texts: pins, a kernel's command line with pins, a file with a private key.

use guest_agent::trust::configured;
use session_tls::{Fingerprint, MAX_RELAY_KEYS, PrivateKey};

use crate::{entropy::Entropy, grammar::Grammar};

/// Private keys of nobody, made by OpenSSL: ECDSA on P-256 in both of its forms, Ed25519.
pub(super) const ECDSA: &[u8] = b"-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8PHtVdlnZ64Foom0
bEZ/U9AyVN0joXKJJhHu1n4qm7uhRANCAAQ01xHZVsGXKNYj9rttVP3yQiUZ/1P3
X+ma1CR1htbIUV1EF+gsqySd/X4z2N6Y4h5wb72G7dIRFRwAxQEbIqXv
-----END PRIVATE KEY-----
";
const ECDSA_SEC1: &[u8] = b"-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIPDx7VXZZ2euBaKJtGxGf1PQMlTdI6FyiSYR7tZ+Kpu7oAoGCCqGSM49
AwEHoUQDQgAENNcR2VbBlyjWI/a7bVT98kIlGf9T91/pmtQkdYbWyFFdRBfoLKsk
nf1+M9jemOIecG+9hu3SERUcAMUBGyKl7w==
-----END EC PRIVATE KEY-----
";
pub(super) const ED25519: &[u8] = b"-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIGaQFS1akCx1+ucxQT10dNhl6kLwb/4IIt6zvRdck7he
-----END PRIVATE KEY-----
";

const PEM_WORDS: &[&[u8]] = &[
    b"-----BEGIN PRIVATE KEY-----\n",
    b"-----BEGIN RSA PRIVATE KEY-----\n",
    b"-----END PRIVATE KEY-----\n",
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----",
    b"\n",
    b"\r\n",
    b"=",
    b"A",
    b"/",
    b"\0",
    b"\xff",
];

const COMMAND_LINES: &[&[u8]] = &[
    b"console=ttyS0 kadapter.relay_key=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad lsm=bpf\n",
    b"kadapter.relay_key=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=,ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"kadapter.relay_key=364dd400133771264014ce44f6150a7e35d9eefe120260fa5d2e42820256ab72 kadapter.relay_key=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad quiet",
];

const PINS: &[&[u8]] = &[
    b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
];

const LINE_WORDS: &[&[u8]] = &[
    b" ",
    b",",
    b"=",
    b"kadapter.relay_key=",
    b"kadapter.relay_key",
    b"0",
    b"A",
    b"+",
    b"\t",
    b"\"",
    b"\0",
    b"\xef\xbc\x91",
    b"\xff",
];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    match entropy.below(3) {
        0 => check_pin(&mut entropy),
        1 => check_command_line(&mut entropy),
        _ => check_private_key(&mut entropy),
    }
}

fn check_pin(entropy: &mut Entropy<'_>) {
    let text = Grammar { valid: PINS, words: LINE_WORDS }.write(entropy);
    let text = String::from_utf8_lossy(&text);
    match text.parse::<Fingerprint>() {
        Ok(pin) => assert_eq!(pin.to_string().parse(), Ok(pin)),
        Err(error) => assert!(error.to_string().len() < 600, "an error of any length"),
    }
}

fn check_command_line(entropy: &mut Entropy<'_>) {
    let line = Grammar { valid: COMMAND_LINES, words: LINE_WORDS }.write(entropy);
    let line = String::from_utf8_lossy(&line);
    let Ok(relays) = configured(&line) else { return };
    assert!(configured(&line.replace("kadapter.", "other.")).is_err(), "another word counts");
    let relays: Vec<_> = relays.iter().copied().collect();
    assert!((1..=MAX_RELAY_KEYS).contains(&relays.len()));
    let line = relays.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let again = configured(&format!("kadapter.relay_key={line}")).expect("one or two pins");
    assert!(again.iter().eq(&relays), "in the same order");
}

fn check_private_key(entropy: &mut Entropy<'_>) {
    let pem = Grammar { valid: &[ECDSA, ECDSA_SEC1, ED25519], words: PEM_WORDS }.write(entropy);
    let Ok(key) = PrivateKey::from_pem(&pem) else { return };
    let again = PrivateKey::from_pem(&pem).expect("it was read before");
    assert_eq!(again.fingerprint(), key.fingerprint());
    let shown = format!("{key:?}");
    assert!(shown.len() < 200 && shown.contains(&key.fingerprint().to_string()), "{shown}");
}
