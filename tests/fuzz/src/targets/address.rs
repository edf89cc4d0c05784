// SPDX-License-Identifier: Apache-2.0
//! Addresses of sandboxes: one that is read is shown as it is read again.

use host_relay::sandbox::Address;

use crate::{entropy::Entropy, grammar::Grammar};

const VALID: &[&[u8]] = &[
    b"hvsock:///run/vc/vm/s1/kata.hvsock:1034",
    b"hvsock:///run/v.sock",
    b"vsock://3:1034",
    b"vsock://3",
    b"unix:///run/agent.sock",
];

const WORDS: &[&[u8]] = &[
    b":",
    b"://",
    b"/",
    b"0",
    b"+1",
    b"4294967295",
    b"4294967296",
    b"-1",
    b"unix",
    b"vsock",
    b"hvsock",
    b"\0",
    b"\n",
    b"\xc3\xa9",
];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let text = Grammar { valid: VALID, words: WORDS }.write(&mut entropy);
    let text = String::from_utf8_lossy(&text);
    match text.parse::<Address>() {
        Ok(address) => assert_eq!(address.to_string().parse().as_ref(), Ok(&address)),
        Err(error) => assert!(error.to_string().contains("hvsock:///PATH"), "without a remedy"),
    }
    // Any absolute path can be bound, so any can be named.
    if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
        assert_eq!(text.parse(), Ok(Address::Unix { path: path.into() }));
    }
}
