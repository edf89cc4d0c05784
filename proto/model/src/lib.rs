// SPDX-License-Identifier: Apache-2.0
//! The meaning of Kadapter's contract.
//!
//! Owns the domain types that host and guest share, their only validation ([`wire`]) and the
//! reference decision ([`eval`]). Bytes and messages flow in, validated types flow out. It never
//! touches a clock, a file, a socket or a kernel.
#![forbid(unsafe_code)]

mod access;
pub mod applet;
#[cfg(feature = "arbitrary")]
pub mod arbitrary;
pub mod arguments;
pub mod eval;
mod event;
mod feature;
pub mod hook;
mod ids;
pub mod limits;
mod object;
mod options;
mod order;
mod path;
mod primitive;
mod rule;
mod rule_set;
pub mod wire;
pub mod world;

pub use access::Access;
pub use event::{Event, InvalidEvent, Reason, Verdict};
pub use feature::{Feature, UnknownFeature};
pub use ids::{Digest, Generation, RuleId, Target};
pub use object::{Content, Directory, Match, Object, PathObject};
pub use options::{NameGuard, Options, Posture, Postures, Revoke};
pub use order::{Place, Rank};
pub use path::{InvalidPath, RulePath};
pub use primitive::Primitive;
pub use rule::{Action, Category, Rule, Source};
pub use rule_set::{FORMAT, RuleSet};
