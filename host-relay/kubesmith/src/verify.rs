// SPDX-License-Identifier: Apache-2.0
//! Whether a blocked program still runs under another name.
//!
//! The effective policies of one container flow in, a verdict for each exact-path Block rule on a
//! program flows out, with a counter-example if the program still runs. Today the search is
//! small and says so: the program is renamed, hard-linked or unlinked while it is held open, in its
//! own directory, in `/tmp` and in directories that rules name, by nobody in particular and by
//! programs that rules name; where an option guards its name, its directory is renamed instead. What
//! options deny is not tried. Copies, mounts and interpreters are not searched yet. The judge is
//! `policy_model::eval`, the same that the engine is tested against.

mod permitted;
mod search;

use policy_model::{Postures, RuleId, RulePath, eval::UnsupportedRule};

pub use permitted::replaceable;

use crate::effective::{EffectivePolicy, PolicyRef};

/// What the search found for one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The program still runs.
    Bypassed {
        /// Steps that show it.
        counter_example: String,
    },
    /// No access that was searched runs it.
    Holds {
        /// Number of accesses that were judged.
        searched: usize,
    },
    /// Nobody knows: the rules together are more than a search takes.
    Unsearched,
}

/// One judged rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The rule.
    pub rule: RuleId,
    /// Its policy.
    pub policy: PolicyRef,
    /// Path of its field.
    pub field: String,
    /// The program.
    pub path: RulePath,
    /// What was found.
    pub verdict: Verdict,
}

/// Judges every Block rule that names a program by its path.
///
/// # Errors
/// If a rule is of a kind that the reference decision cannot judge yet.
pub fn verify(
    policies: &[EffectivePolicy],
    postures: Postures,
) -> Result<Vec<Verified>, UnsupportedRule> {
    let search = search::Search::new(policies, postures)?;
    policies
        .iter()
        .flat_map(|policy| &policy.rules)
        .filter_map(|entry| search::blocked_program(&entry.rule).map(|path| (entry, path)))
        .map(|(entry, path)| {
            Ok(Verified {
                rule: entry.rule.id,
                policy: entry.provenance.policy.clone(),
                field: entry.provenance.field.clone(),
                path: path.clone(),
                verdict: search.judge(&entry.rule, path)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use policy_model::{Action, Directory, Match, Object, PathObject, Source};

    use super::*;
    use crate::effective::{EffectiveOption, EffectiveRule, Switch, tests::program};
    use crate::finding::Code;
    use crate::harden::{Level, harden};

    fn path(text: &str) -> RulePath {
        RulePath::new(text).unwrap()
    }

    fn named(action: Action, text: &str) -> EffectiveRule {
        program(action, Object::Path(PathObject { path: path(text), matching: Match::Name }), &[])
    }

    fn below(action: Action, text: &str, sources: &[Source]) -> EffectiveRule {
        let directory = Directory { path: path(text), recursive: true, atomic_volume: false };
        program(action, Object::Directory(directory), sources)
    }

    fn verdicts(rules: Vec<EffectiveRule>, level: Level) -> Vec<Verdict> {
        let policy = EffectivePolicy { rules, ..EffectivePolicy::default() };
        let hardened = harden(policy, level);
        let found = verify(&[hardened], Postures::default()).unwrap();
        found.into_iter().map(|verified| verified.verdict).collect()
    }

    #[test]
    fn a_rule_by_name_is_bypassed_by_a_rename() {
        let found = verdicts(vec![named(Action::Block, "/usr/bin/apt")], Level::Literal);
        let counter_example = "mv /usr/bin/apt /usr/bin/x; /usr/bin/x runs".into();
        assert_eq!(found, [Verdict::Bypassed { counter_example }]);
    }

    #[test]
    fn its_twin_by_identity_holds() {
        let found = verdicts(vec![named(Action::Block, "/usr/bin/apt")], Level::Base);
        assert!(
            found
                .iter()
                .all(|verdict| matches!(verdict, Verdict::Holds { searched } if *searched > 0))
        );
    }

    #[test]
    fn a_blocked_directory_leaves_only_names_elsewhere() {
        let rules = vec![named(Action::Block, "/usr/bin/apt"), below(Action::Block, "/usr", &[])];
        let counter_example = "mv /usr/bin/apt /tmp/x; /tmp/x runs".into();
        assert_eq!(verdicts(rules, Level::Literal), [Verdict::Bypassed { counter_example }]);
    }

    #[test]
    fn an_allow_for_one_caller_is_found_behind_the_twin() {
        let sh = [Source::Path(path("/bin/sh"))];
        let rules = vec![named(Action::Block, "/usr/bin/apt"), below(Action::Allow, "/opt", &sh)];
        let counter_example = "mv /usr/bin /opt/x; /opt/x/apt runs, started by /bin/sh".into();
        let found = verdicts(rules, Level::Base);
        assert_eq!(found[0], Verdict::Bypassed { counter_example });
    }

    #[test]
    fn where_its_name_is_guarded_its_directory_is_renamed() {
        let loader = "/lib64/ld-linux-x86-64.so.2";
        let rules = || vec![named(Action::Block, loader)];
        let unlinked = format!("exec 3<{loader}; rm {loader}; /proc/self/fd/3 runs");
        let guarded = |switches: &[Switch]| {
            let mut policy = EffectivePolicy { rules: rules(), ..EffectivePolicy::default() };
            let provenance = policy.rules[0].provenance.clone();
            policy.options.extend(switches.iter().map(|switch| EffectiveOption {
                switch: *switch,
                level: Level::Base,
                finding: Code::Hardened,
                provenance: provenance.clone(),
            }));
            verify(&[policy], Postures::default()).unwrap().remove(0).verdict
        };
        let bypassed = |steps: &str| Verdict::Bypassed { counter_example: steps.to_owned() };
        assert_eq!(
            guarded(&[Switch::NameGuardObject]),
            bypassed("mv /lib64 /x; /x/ld-linux-x86-64.so.2 runs")
        );
        assert_eq!(guarded(&[Switch::NameGuardAncestors]), bypassed(&unlinked));
        let all = [Switch::NameGuardAncestors, Switch::NoUnlinkedExec];
        assert_eq!(guarded(&all), Verdict::Holds { searched: 0 });
    }

    #[test]
    fn rules_that_all_speak_about_each_other_take_no_square_of_time() {
        let programs = (0..2000).map(|number| named(Action::Block, &format!("/usr/bin/x{number}")));
        let callers = (0..2000).map(|number| Source::Path(path(&format!("/s{number}"))));
        let directories = callers.map(|caller| below(Action::Block, "/usr", &[caller]));
        let found = verdicts(programs.chain(directories).collect(), Level::Base);
        assert!(matches!(found[0], Verdict::Holds { .. }));
        assert_eq!(found[1999], Verdict::Unsearched);
    }

    #[test]
    fn a_whitelist_that_blocks_holds_without_a_twin() {
        let rules = vec![named(Action::Block, "/usr/bin/apt"), named(Action::Allow, "/bin/ls")];
        let policy = EffectivePolicy { rules, ..EffectivePolicy::default() };
        let block = policy_model::Posture::Block;
        let postures = Postures { process: block, ..Postures::default() };
        let found = verify(&[policy], postures).unwrap();
        assert!(matches!(found[0].verdict, Verdict::Holds { .. }));
    }
}
