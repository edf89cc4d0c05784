// SPDX-License-Identifier: Apache-2.0
//! The relay of a node.
//!
//! Kubernetes objects flow in ([`watch`]), settle ([`settle`]), are related to the containers that guests report
//! ([`index`]), become rule sets ([`pipeline`]) and flow to the guests ([`session`], [`push`]).
//! Events flow back ([`events`]) and, with the state of everything, out to operators ([`api`]).
//! Policy language and rule sets are `kubesmith`'s and `policy-model`'s business, not this crate's.
#![forbid(unsafe_code)]

pub mod api;
pub mod args;
pub mod check;
pub mod events;
pub mod index;
pub mod key;
pub mod log;
pub mod pipeline;
pub mod push;
pub mod reconcile;
pub mod relay;
pub mod sandbox;
pub mod session;
pub mod settle;
pub mod status;
pub mod stop;
pub mod transport;
pub mod watch;
