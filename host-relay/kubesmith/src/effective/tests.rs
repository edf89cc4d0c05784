// SPDX-License-Identifier: Apache-2.0
//! Fixtures and strategies of effective policies, for the tests of all stages.

use policy_model::{Action, Category, Directory, Match, Object, PathObject, RulePath, Source};
use proptest::prelude::*;

use super::*;

/// A rule on programs, of a policy without a name.
pub(crate) fn program(action: Action, object: Object, sources: &[Source]) -> EffectiveRule {
    rule(Category::Process, action, (object, sources.to_vec()))
}

/// A rule of a policy without a name.
pub(crate) fn rule(
    category: Category,
    action: Action,
    (object, sources): (Object, Vec<Source>),
) -> EffectiveRule {
    let mut rule = Rule::new(RuleId::default(), category, action, object);
    rule.sources = sources;
    let provenance = Provenance {
        policy: PolicyRef::default(),
        field: "spec.process.matchPaths[0].path".into(),
        layer: Layer::User,
        severity: 1,
        tags: Vec::new(),
        message: String::new(),
    };
    EffectiveRule::new(rule, provenance)
}

/// Few names, so that rules meet.
pub(crate) fn any_path() -> impl Strategy<Value = RulePath> {
    "(/[ab]){1,3}".prop_map(|text| RulePath::new(text).unwrap())
}

fn any_directory() -> impl Strategy<Value = Directory> {
    (prop_oneof![any_path(), Just(RulePath::root())], any::<bool>())
        .prop_map(|(path, recursive)| Directory { path, recursive, atomic_volume: false })
}

fn any_rule() -> impl Strategy<Value = EffectiveRule> {
    let category = prop_oneof![Just(Category::Process), Just(Category::File)];
    let action = prop_oneof![Just(Action::Allow), Just(Action::Audit), Just(Action::Block)];
    let named =
        any_path().prop_map(|path| Object::Path(PathObject { path, matching: Match::Name }));
    let object = prop_oneof![named, any_directory().prop_map(Object::Directory)];
    let source =
        prop_oneof![any_path().prop_map(Source::Path), any_directory().prop_map(Source::Directory)];
    let sources = proptest::collection::vec(source, 0..2);
    (category, action, object, sources)
        .prop_map(|(category, action, object, sources)| rule(category, action, (object, sources)))
}

/// A policy of a few rules.
pub(crate) fn any_policy() -> impl Strategy<Value = EffectivePolicy> {
    proptest::collection::vec(any_rule(), 0..6)
        .prop_map(|rules| EffectivePolicy { rules, ..EffectivePolicy::default() })
}

/// A few policies of different names.
pub(crate) fn any_policies() -> impl Strategy<Value = Vec<EffectivePolicy>> {
    proptest::collection::vec(any_policy(), 0..4).prop_map(|mut policies| {
        for (index, policy) in policies.iter_mut().enumerate() {
            policy.policy.name = format!("p{index}");
            for entry in &mut policy.rules {
                entry.provenance.policy = policy.policy.clone();
                *entry = EffectiveRule::new(entry.rule.clone(), entry.provenance.clone());
            }
        }
        policies
    })
}
