// SPDX-License-Identifier: Apache-2.0
//! Who a relay and a guest are to each other.
//!
//! Private keys flow in from files, rustls configurations flow out: TLS 1.3 with raw public keys
//! (RFC 7250) on both sides, so there are no certificates, names or dates. A guest takes the relays
//! that it was [configured with](RelayKeys); a relay takes any guest and learns its
//! [`Fingerprint`], which it pins. No session is resumed and no data is early: every connection
//! proves both keys anew. This crate opens no connection and decides no pinning.
#![forbid(unsafe_code)]

mod fingerprint;
mod guest;
mod key;
mod relay;
mod signatures;

pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use guest::{InvalidRelayKeys, MAX_RELAY_KEYS, RelayKeys, UnknownRelay, server_config};
pub use key::{
    GenerateKeyError, InvalidKey, PrivateKey,
    file::{ReadKeyError, WriteKeyError, read, write_new},
};
pub use relay::{client_config, server_name};
