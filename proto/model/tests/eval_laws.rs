// SPDX-License-Identifier: Apache-2.0
//! Laws of the reference decision, for any rules and any access.

use policy_model::{
    Action, Category, Rank, Reason, Rule, RuleId, RuleSet, Verdict,
    arbitrary::{any_access, any_rule, supported_rule, supported_rule_set},
    eval::{UnsupportedRule, eval},
};
use proptest::prelude::*;

fn with(set: &RuleSet, rule: Rule) -> RuleSet {
    set.clone().with_rules([set.rules(), &[rule]].concat())
}

/// An id that the set does not have, so that adding a rule replaces none.
fn fresh(set: &RuleSet, rule: Rule) -> Rule {
    let used = |id| set.rules().iter().any(|rule| rule.id == RuleId(id));
    let free = (1..).find(|id| !used(*id)).expect("a set has finitely many rules");
    Rule { id: RuleId(free), ..rule }
}

proptest! {
    #[test]
    fn the_order_of_rules_does_not_matter(
        (set, shuffled) in supported_rule_set().prop_flat_map(|set| {
            let rules = set.rules().to_vec();
            (Just(set), Just(rules).prop_shuffle())
        }),
        access in any_access(),
    ) {
        let other = set.clone().with_rules(shuffled);
        prop_assert_eq!(eval(&set, &access.view()), eval(&other, &access.view()));
    }

    #[test]
    fn the_rules_that_decide_are_enough(set in supported_rule_set(), access in any_access()) {
        let decision = eval(&set, &access.view()).unwrap();
        if decision.reason == Some(Reason::Rule) {
            let deciding = set.rules().iter().filter(|rule| decision.rules.contains(&rule.id));
            let alone = set.clone().with_rules(deciding.cloned().collect());
            prop_assert_eq!(eval(&alone, &access.view()), Ok(decision));
        } else {
            prop_assert!(decision.rules.is_empty());
        }
    }

    #[test]
    fn no_rule_that_matches_alone_outranks_those_that_decide(
        set in supported_rule_set(),
        access in any_access(),
    ) {
        let decision = eval(&set, &access.view()).unwrap();
        let highest = decision.rules.iter().map(|id| {
            let rule = set.rules().iter().find(|rule| rule.id == *id);
            Rank::of(rule.expect("only rules of the set decide"))
        });
        let highest = highest.max();
        for rule in set.rules() {
            let alone = set.clone().with_rules(vec![rule.clone()]);
            if eval(&alone, &access.view()).unwrap().reason == Some(Reason::Rule) {
                prop_assert!(Some(Rank::of(rule)) <= highest, "{:?}", rule);
            }
        }
    }

    #[test]
    fn adding_a_block_rule_never_permits_more(
        set in supported_rule_set(),
        rule in supported_rule(),
        access in any_access(),
    ) {
        let more = with(&set, fresh(&set, Rule { action: Action::Block, ..rule }));
        let before = eval(&set, &access.view()).unwrap().verdict;
        prop_assert!(eval(&more, &access.view()).unwrap().verdict >= before);
    }

    #[test]
    fn rules_of_another_category_change_nothing(
        set in supported_rule_set(),
        rule in any_rule(),
        access in any_access(),
    ) {
        if rule.category == access.category {
            return Ok(());
        }
        let more = with(&set, fresh(&set, rule));
        prop_assert_eq!(eval(&more, &access.view()), eval(&set, &access.view()));
    }

    #[test]
    fn unmatched_accesses_are_judged_by_the_posture_of_a_whitelist(
        set in supported_rule_set(),
        access in any_access(),
    ) {
        let decision = eval(&set, &access.view()).unwrap();
        let expected = match decision.reason {
            Some(Reason::Rule) => return Ok(()),
            Some(_) => set.posture(access.category).into(),
            None => Verdict::Allow,
        };
        prop_assert_eq!(decision.verdict, expected);
        let whitelist = set.is_whitelist(access.category);
        prop_assert_eq!(decision.reason, whitelist.then_some(Reason::Posture));
    }

    #[test]
    fn any_rule_is_judged_or_named(rule in any_rule(), access in any_access()) {
        let category = rule.category;
        let set = RuleSet::empty(Default::default(), Default::default());
        let set = set.with_rules(vec![rule.clone()]);
        match eval(&set, &access.view()) {
            Err(UnsupportedRule { rule: named, .. }) => {
                prop_assert_eq!(named, rule.id);
                prop_assert_eq!(category, access.category);
            }
            Ok(_) if category == access.category => {
                prop_assert!(matches!(category, Category::Process | Category::File));
            }
            Ok(_) => {}
        }
    }
}
