// SPDX-License-Identifier: Apache-2.0
//! The reference decision: the order of rules as code, and the judge of every other
//! implementation.
//!
//! A rule set and an access flow in, a [`Decision`] flows out. The order, most important first:
//! a rule with sources beats one without; then exact path, pattern, base name, deepest directory;
//! then Block, Audit, Allow. No rule: the posture, if the category has an Allow rule.
//! [`judge`] decides what a hook shows, options included.

mod judge;

pub use judge::{Actor, FORBIDDEN_FILE_SYSTEMS, Judgement, is_put_off, judge, was_judged};

use crate::{
    access::Access,
    applet::{Invocation, invocation},
    arguments::are_listed,
    event::{Reason, Verdict},
    feature::Feature,
    ids::RuleId,
    object::{Content, Match, Object, PathObject},
    options::Posture,
    order::Rank,
    rule::{Action, Category, Rule, Source},
    rule_set::RuleSet,
};

/// What the engine does with an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Permit, report or deny.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<Reason>,
    /// The rules that decided, ascending. A Block beside an Audit of the same rank names both.
    pub rules: Vec<RuleId>,
}

/// A rule set that this evaluator cannot judge yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule} needs `{feature}`, which is not built yet")]
pub struct UnsupportedRule {
    /// The rule.
    pub rule: RuleId,
    /// What it needs.
    pub feature: Feature,
}

/// Features that [`eval`] and [`judge`] judge.
pub const SUPPORTED: &[Feature] = &[
    Feature::Process,
    Feature::File,
    Feature::PathName,
    Feature::PathIdentity,
    Feature::Directory,
    Feature::Content,
    Feature::Applet,
    Feature::Sources,
    Feature::AllowedArgs,
    Feature::Taint,
    Feature::NoUnlinkedExec,
    Feature::NoAnonymousExec,
    Feature::NoExecmod,
    Feature::NoPoke,
    Feature::NoNewMounts,
    Feature::NoUserNamespaces,
    Feature::KnownFileSystemsOnly,
    Feature::NameGuard,
    Feature::DenyReads,
    Feature::AllowGuard,
    Feature::Hold,
];

/// Decides one access.
///
/// # Errors
/// If a rule of the access's category is of a kind that is not built yet.
pub fn eval(rules: &RuleSet, access: &Access<'_>) -> Result<Decision, UnsupportedRule> {
    let mut best: Vec<(Rank, &Rule)> = Vec::new();
    for rule in rules.rules().iter().filter(|rule| rule.category == access.category) {
        check_supported(rule)?;
        let Some(rank) = rank_of_match(rule, access) else { continue };
        match best.first().map(|(highest, _)| rank.cmp(highest)) {
            Some(std::cmp::Ordering::Less) => continue,
            Some(std::cmp::Ordering::Greater) => best.clear(),
            Some(std::cmp::Ordering::Equal) | None => {}
        }
        best.push((rank, rule));
    }
    let matched: Vec<_> = best.into_iter().map(|(_, rule)| rule).collect();
    Ok(decide(&matched).unwrap_or_else(|| by_posture(rules, access)))
}

/// Whether a rule can be judged.
///
/// # Errors
/// Names the first of its needs that is not built yet.
pub fn check_supported(rule: &Rule) -> Result<(), UnsupportedRule> {
    let is_built = |need: &Feature| {
        SUPPORTED.contains(need) && (*need != Feature::AllowedArgs || can_have_arguments(rule))
    };
    match Feature::of_rule(rule).find(|need| !is_built(need)) {
        Some(feature) => Err(UnsupportedRule { rule: rule.id, feature }),
        None => Ok(()),
    }
}

/// Only what is executed has arguments, and those of an applet begin behind its name.
fn can_have_arguments(rule: &Rule) -> bool {
    rule.category == Category::Process && !matches!(rule.object, Object::Applet { .. })
}

/// The decision of equally specific rules; none if there is none.
#[must_use]
pub fn decide(matched: &[&Rule]) -> Option<Decision> {
    let action = matched.iter().map(|rule| rule.action).max()?;
    let named = matched.iter().filter(|rule| match action {
        Action::Allow => true,
        Action::Audit | Action::Block => rule.action != Action::Allow,
    });
    let mut rules: Vec<_> = named.map(|rule| rule.id).collect();
    rules.sort_unstable();
    Some(Decision { verdict: action.into(), reason: Some(Reason::Rule), rules })
}

fn by_posture(rules: &RuleSet, access: &Access<'_>) -> Decision {
    if !rules.is_whitelist(access.category) {
        return Decision { verdict: Verdict::Allow, reason: None, rules: Vec::new() };
    }
    let verdict = rules.posture(access.category).into();
    Decision { verdict, reason: Some(Reason::Posture), rules: Vec::new() }
}

fn rank_of_match(rule: &Rule, access: &Access<'_>) -> Option<Rank> {
    // What permits knows its sources by their names alone.
    let is_held = rule.action == Action::Block;
    let is_source = |source: &Source| {
        access.exe.is_some_and(|exe| source.covers(exe))
            || is_held && access.acts_as.contains(source)
    };
    let acts = rule.sources.is_empty() || rule.sources.iter().any(is_source);
    let matches = acts && object_matches(rule, access) && arguments_match(rule, access.argv);
    matches.then(|| Rank::of(rule))
}

fn object_matches(rule: &Rule, access: &Access<'_>) -> bool {
    match &rule.object {
        Object::Path(PathObject { path, matching: Match::Name }) => access.path == Some(path),
        Object::Path(PathObject { path, matching: Match::Identity }) => {
            access.identities.contains(path)
        }
        Object::Applet { binary, names } => {
            access.identities.contains(binary) && asks_for(rule, names, access)
        }
        Object::Directory(directory) => {
            let is_held = rule.action == Action::Block && access.programs.contains(directory);
            is_held || access.path.is_some_and(|path| directory.covers(path))
        }
        Object::Content { sha256, size } => {
            access.contents.contains(&Content { sha256: *sha256, size: *size })
        }
        _ => false,
    }
}

/// What denies does so unless all arguments are listed, what permits only then.
fn arguments_match(rule: &Rule, argv: Option<&[String]>) -> bool {
    rule.allowed_args.is_empty()
        || are_listed(argv, &rule.allowed_args) == (rule.action == Action::Allow)
}

/// What cannot be read could be any applet, but that permits nothing.
fn asks_for(rule: &Rule, names: &[String], access: &Access<'_>) -> bool {
    match access.argv.map_or(Invocation::Unknown, invocation) {
        Invocation::Applet(applet) => names.iter().any(|name| name == applet),
        Invocation::Binary => false,
        Invocation::Unknown => rule.action != Action::Allow,
    }
}

impl From<Action> for Verdict {
    fn from(action: Action) -> Self {
        match action {
            Action::Allow => Self::Allow,
            Action::Audit => Self::Audit,
            Action::Block => Self::Block,
        }
    }
}

impl From<Posture> for Verdict {
    fn from(posture: Posture) -> Self {
        match posture {
            Posture::Allow => Self::Allow,
            Posture::Audit => Self::Audit,
            Posture::Block => Self::Block,
        }
    }
}
