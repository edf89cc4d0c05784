// SPDX-License-Identifier: Apache-2.0
//! Policies of one container to its canonical rule set.
//!
//! Hardened policies flow in, in any order; a rule set whose bytes depend on nothing but the set of
//! rules and options, and tables that tell where each of them comes from, flow out. A container has
//! one set of options: all that its policies ask for. The generation is not its business: the pusher
//! numbers what it sends.

mod posture;

use std::{cmp::Reverse, collections::BTreeMap};

use policy_model::{Feature, Generation, Postures, RuleId, RuleSet, Target, wire};

pub use posture::{parse_posture, postures};

use crate::effective::{EffectiveOption, EffectivePolicy, Provenance, union};

/// Where each rule of a set comes from.
pub type ProvenanceTable = BTreeMap<RuleId, Provenance>;

/// Who asks for each option of a set, by the feature that it needs. Sorted by switch and policy.
pub type OptionTable = BTreeMap<Feature, Vec<EffectiveOption>>;

/// A rule set and the tables of its rules and options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The rules, of generation zero.
    pub rules: RuleSet,
    /// Their provenance.
    pub provenance: ProvenanceTable,
    /// Who asks for the options.
    pub options: OptionTable,
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
    rules.options = union(policies.iter().flat_map(|policy| &policy.options));
    let provenance = entries().map(|entry| (entry.rule.id, entry.provenance.clone())).collect();
    wire::decode(&wire::encode(&rules))
        .map_err(|source| CompileError { policies: by_size(policies), source })?;
    Ok(Compiled { rules, provenance, options: option_table(policies) })
}

fn option_table(policies: &[EffectivePolicy]) -> OptionTable {
    let mut table = OptionTable::new();
    for option in policies.iter().flat_map(|policy| &policy.options) {
        table.entry(option.switch.feature()).or_default().push(option.clone());
    }
    for asked in table.values_mut() {
        asked.sort_by(|one, other| {
            let key = |option: &'_ EffectiveOption| (option.switch, option.level);
            key(one).cmp(&key(other)).then_with(|| {
                let (one, other) = (&one.provenance, &other.provenance);
                (&one.policy, &one.field).cmp(&(&other.policy, &other.field))
            })
        });
    }
    table
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
    use crate::{
        effective::tests::any_policies,
        harden::{Level, harden},
    };

    /// Policies of any levels.
    fn any_hardened() -> impl Strategy<Value = Vec<EffectivePolicy>> {
        let levels = proptest::collection::vec(proptest::sample::select(&Level::ALL[..]), 4);
        (any_policies(), levels).prop_map(|(policies, levels)| {
            policies.into_iter().zip(levels).map(|(policy, level)| harden(policy, level)).collect()
        })
    }

    proptest! {
        #[test]
        fn equal_policies_give_equal_bytes_in_any_order(
            (policies, shuffled) in any_hardened()
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
        fn every_rule_and_option_has_its_provenance(policies in any_hardened()) {
            let compiled =
                compile(Target::default(), Postures::default(), &policies).unwrap();
            prop_assert!(compiled.rules.rules().iter().map(|rule| &rule.id)
                .eq(compiled.provenance.keys()));
            let options = Feature::of_options(&compiled.rules.options);
            prop_assert!(options.iter().collect::<std::collections::BTreeSet<_>>().into_iter()
                .eq(compiled.options.keys()));
        }
    }
}
