// SPDX-License-Identifier: Apache-2.0
//! The agent in the guest.
//!
//! Rule sets flow in over vsock ([`server`]), are checked and put into force ([`apply`], [`lower`],
//! [`maps`]) for containers that present themselves at the [`gate`]; decisions of the kernel flow
//! out as [`events`], and what a container has under a name if the relay asks ([`files`]). It
//! decides nothing itself: the programs of `guest-bpf` do, and they go on doing so when the agent
//! is gone.

pub mod apply;
pub mod args;
pub mod check;
pub mod containers;
pub mod events;
pub mod files;
#[cfg(test)]
mod fixtures;
pub mod gate;
pub mod heap;
pub mod hook;
pub mod identify;
pub mod keeper;
pub mod lifecycle;
pub mod loader;
pub mod lower;
pub mod maps;
pub mod memory;
pub mod mounts;
pub mod notify;
pub mod posture;
pub mod readiness;
pub mod reason;
pub mod registry;
pub mod retry;
pub mod run;
pub mod server;
pub mod trust;
