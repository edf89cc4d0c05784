// SPDX-License-Identifier: Apache-2.0
//! Reads KubeArmor policies as their authors mean them, and turns them into rule sets.
//!
//! Owns the policy language ([`crd`]), the choice of containers ([`select`]) and the stages that a
//! policy passes: [`resolve`](resolve::resolve), [`verify`](verify::verify),
//! [`harden`](harden::harden), [`compile`](compile::compile). Kubernetes objects flow in, a
//! canonical rule set with the provenance of its rules and options and the findings flow out. It never touches
//! a clock, a file, a socket or a cluster.
#![forbid(unsafe_code)]

pub mod compile;
pub mod crd;
mod effective;
mod finding;
pub mod harden;
pub mod resolve;
pub mod select;
pub mod verify;

pub use effective::{
    EffectiveOption, EffectivePolicy, EffectiveRule, Layer, PolicyRef, Provenance, Switch,
};
pub use finding::{Code, Finding};
