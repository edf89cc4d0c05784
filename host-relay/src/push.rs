// SPDX-License-Identifier: Apache-2.0
//! What has to be sent to a guest, and the sending.
//!
//! Owns, per container, what the guest has in force. Plans flow in, parcels flow out only where the
//! digest differs; one parcel of a container is under way at a time, and the newest plan wins. A
//! refusal by the guest is remembered until the plan changes: what was in force stays in force.

mod ledger;
mod send;

pub use ledger::{Ledger, Parcel};
pub use send::{PushError, send};
