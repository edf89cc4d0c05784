// SPDX-License-Identifier: Apache-2.0
//! Kadapter's contract as messages and services.
//!
//! Owns the `.proto` files and what is generated from them. Messages flow in and out of the
//! wire; nothing here gives them a meaning: that is `policy-model`'s work. Without features the
//! crate is prost only.
#![allow(missing_docs, reason = "generated code carries the comments of the .proto files")]
#![allow(
    clippy::all,
    clippy::too_many_lines,
    unused_qualifications,
    unreachable_pub,
    reason = "generated code"
)]

/// Rule sets.
pub mod policy {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/kadapter.policy.v1.rs"));
    }
}

/// The agent's service.
pub mod guest {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/kadapter.guest.v1.rs"));
    }
}

/// The relay's service.
pub mod relay {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/kadapter.relay.v1.rs"));
    }
}

/// An encoded `FileDescriptorSet` of every `.proto` file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
