// SPDX-License-Identifier: Apache-2.0
//! Policies of one container to its canonical rule set.
//!
//! Hardened policies flow in, in any order; a rule set whose bytes depend on nothing but the set of
//! rules, and a table that tells where each rule comes from, flow out. The generation is not its
//! business: the pusher numbers what it sends.

mod posture;

use std::{cmp::Reverse, collections::BTreeMap};

use policy_model::{Generation, Postures, RuleId, RuleSet, Target, wire};

pub use posture::{parse_posture, postures};

use crate::effective::{EffectivePolicy, Provenance};

/// Where each rule of a set comes from.
pub type ProvenanceTable = BTreeMap<RuleId, Provenance>;

/// A rule set and the table of its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The rules, of generation zero.
    pub rules: RuleSet,
    /// Their provenance.
    pub provenance: ProvenanceTable,
}

/// Rules that make no set which a guest would take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rules of {policies} together make no rule set: {source}; shorten one of them, or select \
     fewer pods with it"
)]
pub struct CompileError {
    /// The policies of the container with the number of their rules, most rules first.
    pub policies: String,
    /// What the guest's validation says.
    pub source: wire::InvalidRuleSet,
}

/// Compiles the policies of one container.
///
/// # Errors
/// If the guest's validation would refuse the set.
pub fn compile(
    target: Target,
    postures: Postures,
    policies: &[EffectivePolicy],
) -> Result<Compiled, CompileError> {
    let entries = || policies.iter().flat_map(|policy| &policy.rules);
    let mut rules = RuleSet::empty(target, Generation::default())
        .with_rules(entries().map(|entry| entry.rule.clone()).collect());
    rules.postures = postures;
    let provenance = entries().map(|entry| (entry.rule.id, entry.provenance.clone())).collect();
    wire::decode(&wire::encode(&rules))
        .map_err(|source| CompileError { policies: by_size(policies), source })?;
    Ok(Compiled { rules, provenance })
}

fn by_size(policies: &[EffectivePolicy]) -> String {
    let mut sizes: Vec<_> =
        policies.iter().map(|policy| (policy.rules.len(), &policy.policy)).collect();
    sizes.sort_by_key(|(rules, _)| Reverse(*rules));
    let texts: Vec<_> =
        sizes.iter().map(|(rules, name)| format!("{name} ({rules} rules)")).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::effective::tests::any_policies;

    proptest! {
        #[test]
        fn equal_policies_give_equal_bytes_in_any_order(
            (policies, shuffled) in any_policies()
                .prop_flat_map(|policies| (Just(policies.clone()), Just(policies).prop_shuffle())),
        ) {
            let compiled = |policies: &[EffectivePolicy]| {
                compile(Target::default(), Postures::default(), policies).unwrap()
            };
            let (one, other) = (compiled(&policies), compiled(&shuffled));
            prop_assert_eq!(wire::encode(&one.rules), wire::encode(&other.rules));
            prop_assert_eq!(one, other);
        }

        #[test]
        fn every_rule_has_its_provenance(policies in any_policies()) {
            let compiled =
                compile(Target::default(), Postures::default(), &policies).unwrap();
            prop_assert!(compiled.rules.rules().iter().map(|rule| &rule.id)
                .eq(compiled.provenance.keys()));
        }
    }
}
