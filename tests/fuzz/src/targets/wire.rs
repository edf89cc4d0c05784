// SPDX-License-Identifier: Apache-2.0
//! The decoder of rule sets: what it takes is canonical and encodes to the same bytes.

use std::sync::LazyLock;

use kadapter_proto::policy::v1 as pb;
use policy_model::{Digest, wire};
use prost::Message as _;

use super::{rule_sets, slices};
use crate::{entropy::Entropy, grammar::Grammar};

static VALID: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| rule_sets().iter().map(wire::encode).collect());

static MESSAGES: LazyLock<Vec<pb::RuleSet>> =
    LazyLock::new(|| rule_sets().iter().map(pb::RuleSet::from).collect());

/// Field heads, lengths and numbers at the edges of protobuf, and texts at those of paths.
pub(super) const WORDS: &[&[u8]] = &[
    b"\x00",
    b"\x08",
    b"\x0a",
    b"\x12",
    b"\x22",
    b"\x2a",
    b"\x42",
    b"\x0a\x00",
    b"\x7f",
    b"\x80\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x0b",
    b"\x0c",
    b"/",
    b"//",
    b"/..",
    b"/.",
    b"\xff",
    b"object.automaton",
];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let bytes = if entropy.below(3) == 0 {
        crossed(&mut entropy).encode_to_vec()
    } else {
        Grammar { valid: &slices(&VALID), words: WORDS }.write(&mut entropy)
    };
    if let Ok(set) = wire::decode(&bytes) {
        assert_eq!(wire::encode(&set), bytes, "accepted bytes are canonical");
        assert_eq!(wire::digest(&set), Digest::of(&bytes));
    }
}

/// Well-formed, with contradictions: one message with parts of another and numbers of nobody.
fn crossed(entropy: &mut Entropy<'_>) -> pb::RuleSet {
    let mut one = MESSAGES[entropy.below(MESSAGES.len())].clone();
    let other = &MESSAGES[entropy.below(MESSAGES.len())];
    for _ in 0..entropy.below(4) {
        match entropy.below(6) {
            0 => one.options = other.options,
            1 => one.postures = other.postures,
            2 => one.required_features.clone_from(&other.required_features),
            3 => one.target.clone_from(&other.target),
            4 => one.format = entropy.below(3) as u32,
            _ => one.rules.extend_from_slice(&other.rules[entropy.range(other.rules.len())]),
        }
    }
    let rules = one.rules.len();
    for _ in 0..entropy.below(4).min(rules) {
        let rule = &mut one.rules[entropy.below(rules)];
        let Some(donor) = other.rules.get(entropy.below(other.rules.len())) else { continue };
        match entropy.below(6) {
            0 => rule.category = i32::from(entropy.byte()) - 1,
            1 => rule.action = i32::from(entropy.byte()) - 1,
            2 => rule.object.clone_from(&donor.object),
            3 => rule.sources.clone_from(&donor.sources),
            4 => rule.allowed_args.clone_from(&donor.allowed_args),
            _ => rule.id = entropy.number(),
        }
    }
    if entropy.below(2) == 0 {
        one.rules.sort_by_key(|rule| rule.id);
    }
    one
}
