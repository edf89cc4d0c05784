// SPDX-License-Identifier: Apache-2.0
//! Between bytes and rule sets: the only validation of the wire, on both sides.
//!
//! [`encode`] gives the canonical bytes of a set, whose SHA-256 is its digest; [`decode`] takes
//! nothing but canonical bytes and yields a set that is valid throughout, or the first reason why
//! it is not. It never panics and never repairs.

mod decode;
mod encode;
mod scan;

use kadapter_proto::policy::v1 as pb;
use prost::Message as _;

pub(crate) use decode::bounded;
pub use decode::{category_from_wire, target_from_wire};
pub use encode::category_to_wire;

use crate::{
    feature::UnknownFeature,
    ids::Digest,
    limits::{MAX_RULE_SET_BYTES, MAX_SIGNATURES},
    path::InvalidPath,
    rule_set::{FORMAT, RuleSet},
};

/// Why bytes or a message are no rule set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRuleSet {
    /// Bytes above the limit.
    #[error("the rule set has {0} bytes, more than {MAX_RULE_SET_BYTES}; split the policy")]
    TooLarge(usize),
    /// Not an encoded message, or one that was cut short.
    #[error("the rule set cannot be decoded: {0}")]
    Malformed(String),
    /// Of another version.
    #[error("the rule set has format {0}, this build reads {FORMAT}; upgrade the older side")]
    Format(u32),
    /// Needs something unknown.
    #[error("required_features: {0}")]
    Feature(#[from] UnknownFeature),
    /// The list of required features is not what the content needs.
    #[error("required_features does not name what the rules need: {0}")]
    FeaturesDiffer(String),
    /// A part without which the rest has no meaning.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A number that stands for nothing.
    #[error("`{field}` has the unknown value {value}")]
    UnknownValue {
        /// The field.
        field: &'static str,
        /// Its number.
        value: i32,
    },
    /// A path that the engine cannot match.
    #[error("`{field}`: {source}")]
    Path {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: InvalidPath,
    },
    /// A text that is not in its one form.
    #[error("`{field}` is {text:?}; write {expected}")]
    Text {
        /// The field.
        field: &'static str,
        /// What it says.
        text: String,
        /// The form that it should have.
        expected: &'static str,
    },
    /// More than a limit allows, or less than makes sense.
    #[error("`{field}` has {got}, allowed are {least} to {most}")]
    OutOfBounds {
        /// The field.
        field: &'static str,
        /// How many or how much.
        got: usize,
        /// The least.
        least: usize,
        /// The most.
        most: usize,
    },
    /// Rules or their parts are not in canonical order.
    #[error("`{0}` is not in ascending order without repetition")]
    Unordered(&'static str),
    /// An object that its category cannot have.
    #[error("rule {rule:016x} has an object that its category cannot have")]
    ObjectOfOtherCategory {
        /// Id of the rule.
        rule: u64,
    },
    /// Decodable, but not the bytes that the compiler writes.
    #[error("the rule set is not in its canonical form")]
    NotCanonical,
}

/// Canonical bytes of a set.
#[must_use]
pub fn encode(rules: &RuleSet) -> Vec<u8> {
    pb::RuleSet::from(rules).encode_to_vec()
}

/// The set that these bytes stand for. What it needs in memory is counted before it is taken.
///
/// # Errors
/// The first reason why they stand for none.
pub fn decode(bytes: &[u8]) -> Result<RuleSet, InvalidRuleSet> {
    if bytes.len() > MAX_RULE_SET_BYTES {
        return Err(InvalidRuleSet::TooLarge(bytes.len()));
    }
    let rules = decode::rule_set(bytes)?;
    if encode(&rules) == bytes { Ok(rules) } else { Err(InvalidRuleSet::NotCanonical) }
}

/// Whether an encoded envelope is small enough to be decoded: its payload is as long as the bytes, and
/// of signatures there are a few.
///
/// # Errors
/// If it is not, or is no envelope.
pub fn check_envelope(bytes: &[u8]) -> Result<(), InvalidRuleSet> {
    const SIGNATURES: u32 = 2;
    scan::bounded(bytes, SIGNATURES, "signatures", MAX_SIGNATURES)
}

/// Digest of a set: of its canonical bytes.
#[must_use]
pub fn digest(rules: &RuleSet) -> Digest {
    Digest::of(&encode(rules))
}

#[cfg(test)]
mod tests;
