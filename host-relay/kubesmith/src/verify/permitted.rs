// SPDX-License-Identifier: Apache-2.0
//! Whether what a whitelist permits can be given another content, and would be executed then.
//!
//! Hardened policies of one container flow in; findings flow out, one for each policy. Where the posture
//! denies nothing there is nothing to be gained, and nothing is said.

use policy_model::{Action, Category, Directory, Object, PathObject, Posture, Postures, Rule};

use crate::{
    effective::{EffectivePolicy, EffectiveRule, Layer, Switch},
    finding::{Code, Finding},
};

/// Ways to run something else under a name that is permitted.
#[must_use]
pub fn replaceable(hardened: &[EffectivePolicy], postures: Postures) -> Vec<Finding> {
    if postures.process != Posture::Block {
        return Vec::new();
    }
    let options = hardened.iter().flat_map(|policy| &policy.options);
    let is_kept = options.into_iter().any(|option| option.switch == Switch::AllowGuard);
    let way = |entry: &EffectiveRule| {
        if is_kept { written_by_rule(entry, hardened) } else { Some(unkept(entry)) }
    };
    let found = hardened.iter().filter_map(|policy| {
        let own = policy.rules.iter().filter(|entry| entry.provenance.layer != Layer::Harden);
        let mut permitting = own.filter(|entry| entry.rule.permits_programs());
        permitting.find_map(|entry| Some((entry, way(entry)?)))
    });
    found
        .map(|(entry, message)| Finding {
            code: Code::Replaceable,
            policy: Some(entry.provenance.policy.clone()),
            field: entry.provenance.field.clone(),
            message,
            counter_example: None,
        })
        .collect()
}

fn unkept(entry: &EffectiveRule) -> String {
    let (what, at) = match &entry.rule.object {
        Object::Directory(directory) => {
            let directory = directory.path.as_str().trim_end_matches('/');
            (format!("below `{directory}/`"), format!("{directory}/x"))
        }
        Object::Path(PathObject { path, .. }) => (format!("as `{path}`"), path.to_string()),
        _ => ("under its name".into(), "the name".into()),
    };
    format!(
        "what is permitted can be replaced: any program runs {what} once it was copied, moved or \
         linked there (`cp PROGRAM {at}`); use level `contained`"
    )
}

/// A rule on files that permits to write what this one permits to execute.
fn written_by_rule(entry: &EffectiveRule, policies: &[EffectivePolicy]) -> Option<String> {
    let rules = policies.iter().flat_map(|policy| &policy.rules);
    let writes = |other: &&EffectiveRule| {
        other.rule.category == Category::File
            && other.rule.action == Action::Allow
            && overlap(&other.rule, &entry.rule)
    };
    let permitting = rules.into_iter().find(writes)?;
    let provenance = &permitting.provenance;
    let who = if permitting.rule.sources.is_empty() { "anybody" } else { "its sources" };
    Some(format!(
        "what is permitted can be replaced: {} of `{}` lets {who} write there, and what was written is \
         executed; permit fewer files, or for `fromSource` alone",
        provenance.field, provenance.policy,
    ))
}

/// Whether some file is an object of both.
fn overlap(one: &Rule, other: &Rule) -> bool {
    match (&one.object, &other.object) {
        (Object::Path(one), Object::Path(other)) => one.path == other.path,
        (Object::Path(file), Object::Directory(directory))
        | (Object::Directory(directory), Object::Path(file)) => directory.covers(&file.path),
        (Object::Directory(one), Object::Directory(other)) => {
            one.path == other.path || reaches(one, other) || reaches(other, one)
        }
        _ => false,
    }
}

fn reaches(above: &Directory, below: &Directory) -> bool {
    above.recursive && below.path.below(&above.path).is_some()
}

#[cfg(test)]
mod tests {
    use policy_model::{Match, RulePath};

    use super::*;
    use crate::{
        effective::tests::rule,
        harden::{Level, harden},
    };

    fn file(text: &str) -> Object {
        let path = RulePath::new(text).unwrap();
        Object::Path(PathObject { path, matching: Match::Name })
    }

    fn below(text: &str, recursive: bool) -> Object {
        let path = RulePath::new(text).unwrap();
        Object::Directory(Directory { path, recursive, atomic_volume: false })
    }

    fn allow(category: Category, object: Object) -> EffectiveRule {
        rule(category, Action::Allow, (object, Vec::new()))
    }

    fn found(rules: Vec<EffectiveRule>, level: Level, process: Posture) -> Vec<String> {
        let policy = harden(EffectivePolicy { rules, ..EffectivePolicy::default() }, level);
        let postures = Postures { process, ..Postures::default() };
        replaceable(&[policy], postures).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whitelist_that_denies_is_told_below_contained() {
        use Posture::{Audit, Block};
        let rules = || vec![allow(Category::Process, file("/usr/bin/ls"))];
        for level in [Level::Literal, Level::Base] {
            let [finding] = &found(rules(), level, Block)[..] else { panic!("one finding") };
            assert!(finding.starts_with("[KS123 replaceable] "), "{finding}");
            assert!(finding.contains("cp PROGRAM /usr/bin/ls"), "{finding}");
            assert!(found(rules(), level, Audit).is_empty());
        }
        assert!(found(rules(), Level::Contained, Block).is_empty());
        let all = vec![allow(Category::Process, below("/", true))];
        assert!(found(all, Level::Literal, Block).is_empty(), "everything is permitted");
    }

    #[test]
    fn a_rule_that_lets_it_be_written_is_told_at_any_level() {
        for (writable, is_told) in [
            (file("/usr/bin/ls"), true),
            (below("/usr/bin", false), true),
            (below("/usr", true), true),
            (below("/usr", false), false),
            (below("/usr/bin/x", true), false),
            (below("/tmp", true), false),
        ] {
            let rules = vec![
                allow(Category::Process, file("/usr/bin/ls")),
                allow(Category::File, writable.clone()),
            ];
            let found = found(rules, Level::Sealed, Posture::Block);
            assert_eq!(found.len(), usize::from(is_told), "{writable:?}: {found:?}");
        }
        assert!(overlap(
            &allow(Category::File, below("/srv/app/data", false)).rule,
            &allow(Category::Process, below("/srv", true)).rule
        ));
    }
}
