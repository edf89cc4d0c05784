// SPDX-License-Identifier: Apache-2.0
//! Laws of the wire: `decode` inverts `encode`, takes nothing but canonical bytes, never panics.

use kadapter_proto::policy::v1 as pb;
use policy_model::{
    RuleSet,
    arbitrary::{any_rule, any_rule_set},
    limits::MAX_RULE_SET_BYTES,
    wire::{self, InvalidRuleSet},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use prost::Message as _;

/// One change of a byte string, as a broken or hostile sender makes it.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), 1..=u8::MAX).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (any::<Index>(), vec(any::<u8>(), 1..6)).prop_map(|(at, new)| Mutation::Insert(at, new)),
        (any::<Index>(), 1..24_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (any::<Index>(), 1..24_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

// === impl Mutation ===

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Flip(at, bits) => *at.get_mut(bytes) ^= bits,
            Self::Insert(at, new) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Remove(at, length) => drop(bytes.drain(range(bytes, *at, *length))),
            Self::Repeat(at, length) => bytes.extend_from_within(range(bytes, *at, *length)),
        }
    }
}

fn range(bytes: &[u8], at: Index, length: usize) -> std::ops::Range<usize> {
    let start = at.index(bytes.len());
    start..bytes.len().min(start + length)
}

/// What every byte string must satisfy, whoever made it.
fn is_refused_or_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(set) = wire::decode(bytes) {
        prop_assert_eq!(wire::encode(&set), bytes);
    }
    Ok(())
}

/// The same rules, each list of them in another order and with repetitions.
fn shuffled(set: &RuleSet) -> impl Strategy<Value = RuleSet> + use<> {
    let (set, rules) = (set.clone(), set.rules().to_vec());
    let twice = [rules.clone(), rules].concat();
    Just(twice).prop_shuffle().prop_map(move |mut rules| {
        for rule in &mut rules {
            rule.sources.reverse();
            rule.allowed_args.reverse();
            rule.sources.extend(rule.sources.clone());
        }
        set.clone().with_rules(rules)
    })
}

/// One message with some parts of another: well-formed, with contradictions.
fn crossed(mut one: pb::RuleSet, other: pb::RuleSet, taken: [bool; 6]) -> pb::RuleSet {
    let [options, features, category, object, sources, arguments] = taken;
    if options {
        one.options = other.options;
    }
    if features {
        one.required_features = other.required_features;
    }
    for (rule, other) in one.rules.iter_mut().zip(other.rules) {
        if category {
            rule.category = other.category;
        }
        if object {
            rule.object = other.object;
        }
        if sources {
            rule.sources.extend(other.sources);
        }
        if arguments {
            rule.allowed_args.extend(other.allowed_args);
        }
    }
    one
}

proptest! {
    #[test]
    fn decode_inverts_encode(set in any_rule_set()) {
        prop_assert_eq!(wire::decode(&wire::encode(&set)), Ok(set));
    }

    #[test]
    fn equal_sets_give_equal_bytes_in_any_order(
        (set, other) in any_rule_set().prop_flat_map(|set| (Just(set.clone()), shuffled(&set))),
    ) {
        prop_assert_eq!(wire::encode(&set), wire::encode(&other));
        prop_assert_eq!(wire::digest(&set), wire::digest(&other));
    }

    #[test]
    fn of_rules_with_one_id_the_same_stays_in_any_order(
        (rules, other) in vec(any_rule(), 0..6)
            .prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        set in any_rule_set(),
    ) {
        prop_assert_eq!(set.clone().with_rules(rules), set.with_rules(other));
    }

    #[test]
    fn different_sets_have_different_bytes(one in any_rule_set(), other in any_rule_set()) {
        prop_assert_eq!(one == other, wire::encode(&one) == wire::encode(&other));
    }

    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in vec(any::<u8>(), 0..512)) {
        is_refused_or_canonical(&bytes)?;
    }

    #[test]
    fn mutated_bytes_are_refused_or_canonical(
        set in any_rule_set(),
        mutations in vec(any_mutation(), 1..4),
    ) {
        let mut bytes = wire::encode(&set);
        mutations.iter().for_each(|mutation| if !bytes.is_empty() { mutation.apply(&mut bytes) });
        is_refused_or_canonical(&bytes)?;
    }

    #[test]
    fn a_set_cut_short_is_refused_or_another(set in any_rule_set(), at in any::<Index>()) {
        let bytes = wire::encode(&set);
        // Near the end most of it is still a message.
        let cuts = (bytes.len().saturating_sub(40)..bytes.len()).chain([at.index(bytes.len())]);
        for cut in cuts {
            is_refused_or_canonical(&bytes[..cut])?;
            prop_assert_ne!(wire::decode(&bytes[..cut]), Ok(set.clone()));
        }
    }

    #[test]
    fn parts_of_two_messages_are_refused_or_canonical(
        one in any_rule_set(),
        other in any_rule_set(),
        taken in any::<[bool; 6]>(),
    ) {
        let bytes = crossed(pb::RuleSet::from(&one), pb::RuleSet::from(&other), taken);
        is_refused_or_canonical(&bytes.encode_to_vec())?;
    }
}

#[test]
fn the_bound_on_bytes_comes_first() {
    let bytes = vec![0; MAX_RULE_SET_BYTES + 1];
    assert_eq!(wire::decode(&bytes), Err(InvalidRuleSet::TooLarge(bytes.len())));
    assert!(matches!(wire::decode(&bytes[1..]), Err(InvalidRuleSet::Malformed(_))));
}
