// SPDX-License-Identifier: Apache-2.0
//! The journey of policies, end to end: files of a policy directory, the relay, vsock, the agent,
//! the kernel of a VM, containers of runc, and events back.
//!
//! Each test boots a node of its own, and sees an operation allowed before the policy, denied with
//! it, and allowed after it.

mod actions;
mod agent;
mod applet;
mod arguments;
mod bad_input;
mod bypass;
mod containers;
mod files;
mod gate;
mod guard;
mod hardening;
mod held;
mod identity;
mod mounts;
mod overload;
mod reboot;
mod reference;
mod steps;
mod strangers;
mod takeover;
mod virtiofs;
mod workloads;
