// SPDX-License-Identifier: Apache-2.0
//! The relay against a recording guest: a whole relay, real files, real sockets, and a guest of
//! which only the enforcement is missing.
#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

mod api;
mod documents;
mod events;
mod fleet;
mod many;
mod muxer;
mod objects;
mod policies;
mod recording_guest;
mod rig;
mod saves;
mod strangers;
mod transport;
