// SPDX-License-Identifier: Apache-2.0
//! What holds beside the cases: they can fail, and the programs' decision is the reference's for any
//! rules and any access.

use anyhow::{Context as _, Result, ensure};
use attacks::places;
use e2e::suites::measured;
use guest_bpf::abi;
use policy_model::{
    Category, Content, RuleId, RulePath, RuleSet,
    arbitrary::{OwnedAccess, supported_rule_set},
    eval::eval,
    world::ways,
};
use proptest::{
    prelude::Rng as _,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{TestRng, TestRunner},
};
use serde_json::Value;

use crate::{
    case::{self, Schema},
    decision::{Decider, Facts, Outcome, Record},
    model::{self, Leg},
};

/// Denied at its first step, as expected.
const RIGHT: &str = "
id: right
root: tmpfs
policies:
- metadata: {name: no-apt}
  spec: {selector: {}, process: {matchPaths: [{path: /usr/bin/apt}]}, action: Block}
steps:
- {run: [/usr/bin/apt], expect: EACCES, events: [{verdict: block, path: /usr/bin/apt}]}
- {run: [/usr/bin/allowed], expect: ok}
";

/// Changes of it, and what is said of them.
const WRONG: [(&str, &str, &str); 8] = [
    ("[/usr/bin/apt], expect: EACCES", "[/usr/bin/apt], expect: ok", "ended with EACCES"),
    ("[/usr/bin/apt], expect: EACCES", "[/usr/bin/apt], expect: EPERM", "ended with EACCES"),
    ("[/usr/bin/allowed], expect: ok", "[/usr/bin/allowed], expect: EACCES", "ended with ok"),
    ("[/usr/bin/apt], expect: EACCES", "[/usr/bin/none], expect: EACCES", "the case is broken"),
    ("verdict: block", "verdict: audit", "no event is"),
    ("path: /usr/bin/apt}]}", "path: /usr/bin/apt2}]}", "no event is"),
    ("root: tmpfs", "root: floppy", "not as schema.json says"),
    ("root: tmpfs", "root: tmpfs\nmood: good", "not as schema.json says"),
];

/// A case that is right passes, and each change that makes it wrong is told.
pub(crate) fn cases_can_fail() -> Result<()> {
    let schema = Schema::compile()?;
    ensure!(failures(RIGHT, &schema)?.is_empty(), "the case is right");
    for (right, wrong, expected) in WRONG {
        ensure!(RIGHT.contains(right), "`{right}` is in the case");
        let said = match failures(&RIGHT.replacen(right, wrong, 1), &schema) {
            Ok(failures) => failures.join("; "),
            Err(error) => format!("{error:#}"),
        };
        ensure!(said.contains(expected), "`{wrong}`: `{said}` does not say `{expected}`");
    }
    Ok(())
}

/// The policy of cases that go the driver's ways names all programs that those are about.
pub(crate) fn the_driver_is_known() -> Result<()> {
    let policy: Value = serde_saphyr::from_str(include_str!("cases/level/targets.yaml"))?;
    let paths = policy["spec"]["process"]["matchPaths"].as_array().context("paths")?;
    let named: Vec<_> = paths.iter().filter_map(|path| path["path"].as_str()).collect();
    let targets = places::targets();
    ensure!(named == targets, "targets.yaml names {named:?}, the driver has {targets:?}");
    ensure!(places::DRIVER == ways::DRIVER, "the model's driver is elsewhere");
    Ok(())
}

fn failures(text: &str, schema: &Schema) -> Result<Vec<String>> {
    let case = case::parse(text, "case.yaml".as_ref(), schema)?;
    let case = case.context("the text is a case")?;
    Ok(model::run(&case, Leg::Reference)?.failures)
}

/// Sets, and accesses to each: to make a set takes longer than to judge by it.
const SETS: usize = 400;
const ACCESSES: usize = 260;

/// Every path that rules of [`supported_rule_set`] are about, and some below.
fn near_paths() -> Vec<RulePath> {
    let mut paths = vec![RulePath::root()];
    let mut at = 0;
    while let Some(above) = paths.get(at).filter(|above| above.depth() < 5).cloned() {
        let above = above.as_str().trim_end_matches('/');
        paths.extend(["a", "b"].map(|name| {
            RulePath::new(format!("{above}/{name}")).expect("letters make a normal path")
        }));
        at += 1;
    }
    paths
}

fn pick(rng: &mut TestRng, paths: &[RulePath]) -> Option<RulePath> {
    // One in so many has no name.
    paths.get(rng.next_u32() as usize % (paths.len() + 4)).cloned()
}

fn any_access(rng: &mut TestRng, paths: &[RulePath]) -> OwnedAccess {
    let category = if rng.next_u32() & 1 == 0 { Category::Process } else { Category::File };
    let held = rng.next_u32() % 3;
    OwnedAccess {
        category,
        path: pick(rng, paths),
        identities: (0..held).filter_map(|_| pick(rng, paths)).collect(),
        // Of the two that rules of the strategy are about.
        contents: (0..rng.next_u32() % 2)
            .map(|_| Content { sha256: [1 + (rng.next_u32() & 1) as u8; 32], size: 7 })
            .collect(),
        argv: None,
        exe: pick(rng, paths),
    }
}

fn differs(rules: &RuleSet, access: &OwnedAccess, outcome: &Outcome) -> Result<bool> {
    let expected = eval(rules, &access.view())?;
    // An event names the first of each record only.
    let complete = expected.rules.len() <= abi::MAX_RULES;
    let rules_differ = if complete {
        outcome.rules != expected.rules
    } else {
        outcome.rules.iter().any(|rule| !expected.rules.contains(rule))
    };
    Ok(outcome.verdict != expected.verdict || outcome.reason != expected.reason || rules_differ)
}

/// What any access is decided to is what the reference says.
pub(crate) fn any_access_is_decided_as_by_the_reference(decider: &Decider) -> Result<()> {
    let (mut runner, paths) = (TestRunner::default(), near_paths());
    let mut verdicts = [0_usize; 3];
    for _ in 0..SETS {
        let rules =
            supported_rule_set().new_tree(&mut runner).map_err(anyhow::Error::msg)?.current();
        let rng = runner.rng();
        let accesses: Vec<_> = (0..ACCESSES).map(|_| any_access(rng, &paths)).collect();
        let facts = accesses.iter().map(|access| Facts::of(&rules, &access.view()));
        let facts: Vec<_> = facts.collect::<Result<_>>()?;
        for ((access, facts), outcome) in accesses.iter().zip(&facts).zip(decider.decide(&facts)?) {
            assert!(
                !differs(&rules, access, &outcome)?,
                "{rules:#?} {access:?} {facts} {outcome:?}"
            );
            verdicts[outcome.verdict as usize] += 1;
        }
    }
    let [allowed, audited, blocked] = verdicts;
    measured(&format!(
        "{} decisions in C as the reference's: {allowed} allow, {audited} audit, {blocked} block",
        SETS * ACCESSES
    ));
    ensure!(verdicts.iter().all(|count| *count > SETS), "every verdict occurs");
    Ok(())
}

/// Nonsense is refused.
pub(crate) fn facts_that_make_no_sense_are_an_error_and_not_a_verdict(
    decider: &Decider,
) -> Result<()> {
    let record = Record { rules: vec![RuleId(1); abi::MAX_RULES + 1], ..Record::default() };
    let facts = Facts::Access { unmatched: 0, name: Some(record), identity: None };
    let Err(error) = decider.decide(&[facts]) else { anyhow::bail!("nine rules are decided") };
    let error = error.to_string();
    ensure!(error.contains("too many rules"), "{error}");
    Ok(())
}
