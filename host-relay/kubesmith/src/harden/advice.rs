// SPDX-License-Identifier: Apache-2.0
//! What the author of a policy should know of its hardening: what was added, what was not and why,
//! and which ways stay open.

use policy_model::{Action, Category, Object, Source};

use super::{Hold, Level, harden, hold, written};
use crate::{
    effective::{EffectivePolicy, EffectiveRule},
    finding::{Code, Finding},
};

/// Findings on a policy as its author wrote it.
#[must_use]
pub fn advise(policy: &EffectivePolicy, level: Level) -> Vec<Finding> {
    if level == Level::Literal {
        return copied_source(policy, level).into_iter().collect();
    }
    let mut findings: Vec<_> = added(policy, level).into_iter().collect();
    findings.extend(written(policy).filter_map(|entry| must_read(entry, level)));
    findings.extend(by_name_only(policy, level));
    findings.extend(copied_source(policy, level));
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

/// One for all directories of programs: what comes there later is held where it is, and nowhere else.
fn by_name_only(policy: &EffectivePolicy, level: Level) -> Option<Finding> {
    let mut directories = written(policy).filter(|entry| {
        let Object::Directory(_) = entry.rule.object else { return false };
        entry.rule.category == Category::Process && entry.rule.action == Action::Block
    });
    let first = directories.next().filter(|_| level < Level::Sealed)?;
    let what = match directories.count() {
        0 => "this directory".to_owned(),
        more => format!("this directory and {more} more"),
    };
    let message = format!(
        "programs that come into {what} later are held by name alone, and so are some if there are \
         thousands, which the guest tells: a copy elsewhere runs; list them in matchPaths, or use \
         level `sealed`"
    );
    Some(finding(Code::NameOnly, first, message))
}

/// One for all rules that block something for some programs: another program is not meant, and a copy is
/// another one.
fn copied_source(policy: &EffectivePolicy, level: Level) -> Option<Finding> {
    let is_sourced = |entry: &&EffectiveRule| {
        entry.rule.action == Action::Block && !entry.rule.sources.is_empty()
    };
    let entry = written(policy).find(is_sourced).filter(|_| level < Level::Sealed)?;
    let source = match entry.rule.sources.first()? {
        Source::Path(path) => path.to_string(),
        Source::Directory(directory) => format!("a program of {}", directory.path),
    };
    let way = match level {
        Level::Literal => "moved, linked or copied",
        _ => "copied after the rules came",
    };
    let message = format!(
        "`{source}` is not blocked under another name once it was {way} (`cp`): leave fromSource out to \
         block it for all programs, or use level `sealed`, which executes no copies"
    );
    Some(finding(Code::CopiedSource, entry, message))
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
