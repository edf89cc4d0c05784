// SPDX-License-Identifier: Apache-2.0
//! Rules and options that close the ways around the user's rules.
//!
//! An effective policy and a level flow in, the same policy with added rules and options flows out.
//! Only Block rules are added, each with the sources of the rule that it stands beside, and options
//! only deny: the result permits nothing that the user's rules deny. It never removes or changes a
//! rule of the user, and never holds by identity what every program reads.

mod advice;
mod level;
mod must_read;
mod options;

use std::collections::BTreeSet;

use policy_model::{Action, Category, Match, Object, PathObject, Rule, RulePath};

pub use advice::advise;
pub use level::{InvalidLevel, LEVEL_ANNOTATION, Level, level_of};

use crate::effective::{EffectivePolicy, EffectiveRule, Layer};

/// Adds what the level asks for.
#[must_use]
pub fn harden(mut policy: EffectivePolicy, level: Level) -> EffectivePolicy {
    if level == Level::Literal {
        return policy;
    }
    let mut ids: BTreeSet<_> = policy.rules.iter().map(|entry| entry.rule.id).collect();
    let twins = policy.rules.iter().filter_map(identity_twin);
    let twins: Vec<_> = twins.filter(|twin| ids.insert(twin.rule.id)).collect();
    let options = options::asked(&policy, level);
    policy.rules.extend(twins);
    policy.options.extend(options);
    policy
}

/// How what a rule blocks can be held.
enum Hold<'a> {
    /// By the inode that has this name now.
    Identity(&'a RulePath),
    /// By name alone: all programs read it, and this is why.
    MustRead(&'a RulePath, &'static str),
    /// As written: it is no Block rule on one path.
    Written,
}

fn hold(rule: &Rule) -> Hold<'_> {
    match &rule.object {
        Object::Path(PathObject { path, matching: Match::Name })
            if rule.action == Action::Block
                && matches!(rule.category, Category::Process | Category::File) =>
        {
            match must_read::reader(path) {
                Some(why) => Hold::MustRead(path, why),
                None => Hold::Identity(path),
            }
        }
        _ => Hold::Written,
    }
}

/// The rule that holds the same file by its inode, whatever its name becomes.
fn identity_twin(entry: &EffectiveRule) -> Option<EffectiveRule> {
    let Hold::Identity(path) = hold(&entry.rule) else { return None };
    let object = Object::Path(PathObject { path: path.clone(), matching: Match::Identity });
    let rule = Rule { object, ..entry.rule.clone() };
    let mut provenance = entry.provenance.clone();
    provenance.layer = Layer::Harden;
    Some(EffectiveRule::new(rule, provenance))
}

/// The rules that hardening did not add.
fn written(policy: &EffectivePolicy) -> impl Iterator<Item = &EffectiveRule> {
    policy.rules.iter().filter(|entry| entry.provenance.layer != Layer::Harden)
}

#[cfg(test)]
mod tests;
