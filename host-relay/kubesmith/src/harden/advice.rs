// SPDX-License-Identifier: Apache-2.0
//! What the author of a policy should know of its hardening: what was added, what was not and why,
//! and which ways stay open.

use policy_model::{Action, Category, Object};

use super::{Hold, Level, harden, hold, written};
use crate::{
    effective::{EffectivePolicy, EffectiveRule},
    finding::{Code, Finding},
};

/// Findings on a policy as its author wrote it.
#[must_use]
pub fn advise(policy: &EffectivePolicy, level: Level) -> Vec<Finding> {
    if level == Level::Literal {
        return Vec::new();
    }
    let mut findings: Vec<_> = added(policy, level).into_iter().collect();
    findings.extend(written(policy).filter_map(|entry| must_read(entry, level)));
    findings.extend(by_name_only(policy, level));
    findings
}

fn added(policy: &EffectivePolicy, level: Level) -> Option<Finding> {
    let hardened = harden(policy.clone(), level);
    let first = written(policy).find(|entry| entry.rule.action == Action::Block)?;
    let twins = hardened.rules.len() - policy.rules.len();
    let mut parts = Vec::new();
    match twins {
        0 => {}
        1 => parts.push("a rule on the identity of what is blocked".to_owned()),
        _ => parts.push(format!("{twins} rules on the identity of what is blocked")),
    }
    let options = hardened.options.iter().map(|option| option.switch.to_string());
    let options: Vec<_> = options.collect();
    if !options.is_empty() {
        parts.push(format!("denials, in the whole container, of {}", options.join(", ")));
    }
    let what = if parts.is_empty() { "nothing".into() } else { parts.join("; ") };
    let message = format!("level `{level}` adds {what}; left: {}", left(level));
    Some(finding(Code::Hardened, first, message))
}

/// What a level does not close, whatever the policy.
fn left(level: Level) -> &'static str {
    match level {
        Level::Literal => "all ways around a name",
        Level::Base => "copies of what is blocked, and scripts that an interpreter reads",
        Level::Contained => "the same bytes brought from outside, or read before the rules came",
        Level::Sealed => "text from outside that a permitted interpreter runs",
    }
}

fn must_read(entry: &EffectiveRule, level: Level) -> Option<Finding> {
    let Hold::MustRead(path, why) = hold(&entry.rule) else { return None };
    let instead = match entry.rule.category {
        Category::Process if level >= Level::Contained => {
            "; instead nothing is executed that the container wrote or that has no name"
        }
        _ => "",
    };
    let message =
        format!("`{path}` is blocked as written and not held by identity: {why}{instead}");
    Some(finding(Code::MustRead, entry, message))
}

/// One for all directories of programs: they are held where they are, their copies are not.
fn by_name_only(policy: &EffectivePolicy, level: Level) -> Option<Finding> {
    let mut directories = written(policy).filter(|entry| {
        let Object::Directory(_) = entry.rule.object else { return false };
        entry.rule.category == Category::Process && entry.rule.action == Action::Block
    });
    let first = directories.next().filter(|_| level < Level::Sealed)?;
    let message = match directories.count() {
        0 => "programs of this directory are held by name alone".to_owned(),
        more => format!("programs of this directory and {more} more are held by name alone"),
    };
    let remedy = "a copy elsewhere runs; list them in matchPaths, or use level `sealed`";
    Some(finding(Code::NameOnly, first, format!("{message}: {remedy}")))
}

fn finding(code: Code, entry: &EffectiveRule, message: String) -> Finding {
    Finding {
        code,
        policy: Some(entry.provenance.policy.clone()),
        field: entry.provenance.field.clone(),
        message,
        counter_example: None,
    }
}
