// SPDX-License-Identifier: Apache-2.0
//! What each level adds, and the laws of all of them.

use policy_model::{
    Access, Category, Directory, Feature, Postures, Source, Target, Verdict,
    arbitrary::all_options, eval::eval,
};
use proptest::{prelude::*, sample::select};

use super::*;
use crate::{
    compile::{Compiled, compile},
    effective::{
        Switch,
        tests::{any_path, any_policy, rule},
    },
    finding::Code,
};

fn path(text: &str) -> RulePath {
    RulePath::new(text).unwrap()
}

fn named(text: &str) -> Object {
    Object::Path(PathObject { path: path(text), matching: Match::Name })
}

fn held(text: &str) -> Object {
    Object::Path(PathObject { path: path(text), matching: Match::Identity })
}

fn below(text: &str) -> Object {
    Object::Directory(Directory { path: path(text), recursive: true, atomic_volume: false })
}

fn block(category: Category, object: Object) -> EffectiveRule {
    rule(category, Action::Block, (object, Vec::new()))
}

fn policy(rules: Vec<EffectiveRule>) -> EffectivePolicy {
    EffectivePolicy { rules, ..EffectivePolicy::default() }
}

fn blocked_program(text: &str) -> EffectivePolicy {
    policy(vec![block(Category::Process, named(text))])
}

fn compiled(policies: &[EffectivePolicy]) -> Compiled {
    compile(Target::default(), Postures::default(), policies).unwrap()
}

fn options(policy: EffectivePolicy, level: Level) -> Vec<Feature> {
    Feature::of_options(&compiled(&[harden(policy, level)]).rules.options)
}

fn added(policy: EffectivePolicy, level: Level) -> Vec<Object> {
    let before = policy.rules.len();
    harden(policy, level)
        .rules
        .split_off(before)
        .into_iter()
        .map(|entry| entry.rule.object)
        .collect()
}

fn codes(policy: &EffectivePolicy, level: Level) -> Vec<Code> {
    advise(policy, level).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn a_blocked_program_gets_a_twin_with_the_same_sources() {
    let sources = vec![Source::Path(path("/bin/sh"))];
    let user = rule(Category::Process, Action::Block, (named("/usr/bin/apt"), sources));
    let hardened = harden(policy(vec![user]), Level::Base);
    let [user, twin] = &hardened.rules[..] else { panic!("two rules") };
    assert_eq!(twin.rule.object, held("/usr/bin/apt"));
    assert_eq!(twin.rule.sources, user.rule.sources);
    assert_eq!(twin.provenance.layer, Layer::Harden);
    assert_eq!(twin.provenance.field, user.provenance.field);
    assert_ne!(twin.rule.id, user.rule.id);
}

#[test]
fn a_blocked_file_gets_one_too_and_keeps_its_name() {
    let secret = policy(vec![block(Category::File, named("/etc/shadow"))]);
    for level in [Level::Base, Level::Contained] {
        assert_eq!(added(secret.clone(), level), [held("/etc/shadow")]);
        assert_eq!(options(secret.clone(), level), [Feature::NameGuard]);
    }
}

#[test]
fn directories_and_rules_that_do_not_block_get_none() {
    let audited = rule(Category::Process, Action::Audit, (named("/bin/ls"), Vec::new()));
    let rules = vec![block(Category::Process, below("/sbin")), audited];
    assert_eq!(added(policy(rules), Level::Sealed), []);
}

#[test]
fn base_guards_the_names_of_blocked_programs_and_contained_denies_reading_them() {
    let apt = blocked_program("/usr/bin/apt");
    assert_eq!(options(apt.clone(), Level::Literal), []);
    assert_eq!(options(apt.clone(), Level::Base), [Feature::NameGuard]);
    assert_eq!(options(apt, Level::Contained), [Feature::NameGuard, Feature::DenyReads]);
}

#[test]
fn programs_of_a_blocked_directory_are_held_and_not_read() {
    let sbin = policy(vec![block(Category::Process, below("/sbin"))]);
    let base = [Feature::NameGuard, Feature::Hold];
    assert_eq!(options(sbin.clone(), Level::Base), base);
    let contained = [Feature::NameGuard, Feature::DenyReads, Feature::Hold];
    assert_eq!(options(sbin.clone(), Level::Contained), contained);
    assert_eq!(codes(&sbin, Level::Contained), [Code::Hardened, Code::NameOnly]);
    assert_eq!(codes(&sbin, Level::Sealed), [Code::Hardened]);
}

#[test]
fn sealed_asks_for_all_that_closes_and_contained_stays_in_it() {
    let all = all_options();
    let mut both = blocked_program("/usr/bin/apt");
    both.rules.push(block(Category::Process, below("/sbin")));
    both.rules.push(rule(Category::Process, Action::Allow, (named("/bin/ls"), Vec::new())));
    let sealed = harden(both, Level::Sealed);
    assert_eq!(compiled(&[sealed]).rules.options, all);
}

#[test]
fn sources_of_block_rules_are_held_and_their_copies_are_told() {
    let sources = vec![Source::Path(path("/bin/sh"))];
    let secret = rule(Category::File, Action::Block, (named("/etc/shadow"), sources.clone()));
    let secret = policy(vec![secret]);
    assert_eq!(options(secret.clone(), Level::Base), [Feature::NameGuard, Feature::Hold]);
    for level in [Level::Literal, Level::Contained] {
        assert!(codes(&secret, level).contains(&Code::CopiedSource), "{level}");
    }
    assert!(!codes(&secret, Level::Sealed).contains(&Code::CopiedSource));
    let allowed = rule(Category::Process, Action::Allow, (named("/bin/ls"), sources));
    assert!(!options(policy(vec![allowed]), Level::Sealed).contains(&Feature::Hold));
}

#[test]
fn what_is_permitted_is_kept_from_contained_on_unless_everything_is() {
    let allow = |object| policy(vec![rule(Category::Process, Action::Allow, (object, Vec::new()))]);
    assert_eq!(options(allow(named("/bin/ls")), Level::Base), []);
    for object in [named("/bin/ls"), below("/bin")] {
        assert_eq!(options(allow(object), Level::Contained), [Feature::AllowGuard]);
    }
    assert_eq!(options(allow(below("/")), Level::Contained), []);
    let file = rule(Category::File, Action::Allow, (named("/bin/ls"), Vec::new()));
    assert_eq!(options(policy(vec![file]), Level::Contained), []);
}

#[test]
fn a_policy_that_only_reports_seals_nothing() {
    let audit = rule(Category::Process, Action::Audit, (named("/bin/ls"), Vec::new()));
    assert_eq!(options(policy(vec![audit]), Level::Sealed), []);
    assert_eq!(options(policy(Vec::new()), Level::Sealed), []);
    let allow = rule(Category::Process, Action::Allow, (named("/bin/ls"), Vec::new()));
    assert!(options(policy(vec![allow]), Level::Sealed).contains(&Feature::Taint));
}

#[test]
fn what_all_programs_read_is_held_by_name_and_its_copies_do_not_run() {
    let loader = blocked_program("/lib64/ld-linux-x86-64.so.2");
    for level in Level::ALL {
        assert_eq!(added(loader.clone(), level), [], "{level}");
    }
    let asked = options(loader.clone(), Level::Contained);
    assert_eq!(asked, [Feature::Taint, Feature::NoUnlinkedExec, Feature::NameGuard]);
    let [_, finding] = &advise(&loader, Level::Contained)[..] else { panic!("two findings") };
    assert_eq!(finding.code, Code::MustRead);
    assert!(finding.message.contains("the kernel opens it"), "{finding}");
    for option in &harden(loader, Level::Contained).options {
        let guard = option.switch == Switch::NameGuardObject;
        assert_eq!(option.finding, if guard { Code::Hardened } else { Code::MustRead });
    }
}

#[test]
fn one_such_program_leaves_the_others_unread() {
    let loader = blocked_program("/lib64/ld-linux-x86-64.so.2");
    let both = [blocked_program("/usr/bin/apt"), loader].map(|one| harden(one, Level::Contained));
    let compiled = compiled(&both);
    let asked = Feature::of_options(&compiled.rules.options);
    let expected =
        [Feature::Taint, Feature::NoUnlinkedExec, Feature::NameGuard, Feature::DenyReads];
    assert_eq!(asked, expected);
    let identities: Vec<_> =
        compiled.rules.rules().iter().filter(|rule| rule.object == held("/usr/bin/apt")).collect();
    assert_eq!(identities.len(), 1);
    assert_eq!(compiled.rules.rules().len(), 3, "the loader has no rule that denies its reading");
}

#[test]
fn hardening_a_file_that_all_programs_read_is_refused_and_the_rule_stays() {
    let passwd = policy(vec![block(Category::File, named("/etc/passwd"))]);
    for level in [Level::Base, Level::Contained] {
        assert_eq!(harden(passwd.clone(), level).rules, passwd.rules);
        assert_eq!(options(passwd.clone(), level), [Feature::NameGuard]);
        let [_, refused] = &advise(&passwd, level)[..] else { panic!("two findings") };
        let text = refused.to_string();
        assert!(text.starts_with("[KS121 must-read] "), "{text}");
        assert!(text.contains("every lookup of a user reads it"), "{text}");
    }
}

#[test]
fn an_option_names_the_gravest_rule_that_asks_for_it() {
    let mut rules: Vec<_> =
        ["/a", "/b", "/c"].map(|text| block(Category::Process, named(text))).into();
    for (entry, severity) in rules.iter_mut().zip([3, 7, 7]) {
        entry.provenance.severity = severity;
        entry.provenance.field = format!("spec.{}", hold_path(entry));
    }
    let hardened = harden(policy(rules), Level::Contained);
    let asks = hardened.options.iter().find(|option| option.switch == Switch::DenyReads).unwrap();
    assert_eq!((asks.provenance.field.as_str(), asks.level), ("spec./b", Level::Contained));
    assert_eq!((asks.provenance.severity, asks.provenance.layer), (7, Layer::Harden));
}

fn hold_path(entry: &EffectiveRule) -> String {
    let Hold::Identity(path) = hold(&entry.rule) else { panic!("held by identity") };
    path.to_string()
}

#[test]
fn levels_are_known_by_their_names_and_no_other() {
    for level in Level::ALL {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    assert_eq!("high".parse::<Level>(), Err(InvalidLevel("high".into())));
}

fn verdict(policy: &EffectivePolicy, access: &Access<'_>) -> Verdict {
    eval(&compiled(std::slice::from_ref(policy)).rules, access).unwrap().verdict
}

/// Whether every switch of one is a switch of the other.
fn within(one: &EffectivePolicy, other: &EffectivePolicy) -> bool {
    let switches =
        |policy: &EffectivePolicy| policy.options.iter().map(|asked| asked.switch).collect();
    let (one, other): (BTreeSet<Switch>, BTreeSet<Switch>) = (switches(one), switches(other));
    one.is_subset(&other)
}

proptest! {
    #[test]
    fn hardened_rules_permit_nothing_that_the_users_deny(
        policy in any_policy(),
        level in select(&Level::ALL[..]),
        path in proptest::option::of(any_path()),
        identities in proptest::collection::vec(any_path(), 0..3),
        exe in proptest::option::of(any_path()),
        program in any::<bool>(),
    ) {
        let category = if program { Category::Process } else { Category::File };
        let access = Access {
            category, path: path.as_ref(), identities: &identities, contents: &[], programs: &[], acts_as: &[], argv: None, exe: exe.as_ref(),
        };
        let hardened = harden(policy.clone(), level);
        if verdict(&policy, &access) == Verdict::Block {
            prop_assert_eq!(verdict(&hardened, &access), Verdict::Block);
        }
    }

    /// Options only deny, so more of them permit less.
    #[test]
    fn each_level_has_all_rules_and_options_of_the_one_before(policy in any_policy()) {
        let levels = Level::ALL.map(|level| harden(policy.clone(), level));
        for pair in levels.windows(2) {
            prop_assert!(pair[0].rules.iter().all(|rule| pair[1].rules.contains(rule)));
            prop_assert!(within(&pair[0], &pair[1]));
        }
    }

    #[test]
    fn hardening_twice_is_hardening_once(policy in any_policy(), level in select(&Level::ALL[..])) {
        let once = harden(policy, level);
        prop_assert_eq!(harden(once.clone(), level), once);
    }

    #[test]
    fn no_switch_is_asked_for_twice(
        policy in any_policy(), first in select(&Level::ALL[..]), second in select(&Level::ALL[..]),
    ) {
        let options = harden(harden(policy, first), second).options;
        let switches: BTreeSet<_> = options.iter().map(|option| option.switch).collect();
        prop_assert_eq!(switches.len(), options.len());
    }
}
