// SPDX-License-Identifier: Apache-2.0
//! Decides in advance: for each class what everybody gets, and what each subject gets.
//!
//! The order of rules is policy-model's; here it is only carried out for every (class, subject)
//! that can differ, so that the kernel needs one look-up.

use std::collections::{BTreeSet, HashMap};

use guest_bpf::abi;
use policy_model::{Action, Category, Place, Rank, Reason, Rule, RuleSet, Source, Verdict, eval};

use super::{
    LowerError, MAX_DECISIONS, NamedFiles,
    applets::of_applets,
    arguments::{Judged, JudgedArguments, MAX_LISTS},
    classes::{Member, Members},
};

/// Decisions on one class.
#[derive(Clone, Debug, Default)]
pub struct JudgedClass {
    /// (category, subject, decision); subject 0 = everybody else.
    pub decisions: Vec<(u32, u32, abi::Decision)>,
}

/// Decisions on all classes of a plan.
#[derive(Debug, Default)]
pub(super) struct JudgedAll {
    pub(super) classes: Vec<JudgedClass>,
    pub(super) arguments: Vec<(u32, JudgedArguments)>,
}

/// Knows the rules and the subjects of a set.
#[derive(Debug)]
pub struct Judge<'r> {
    rules: &'r [Rule],
    /// Whether a guard keeps what rules permit to be executed.
    keeps: bool,
    /// Number of each source.
    numbers: HashMap<NamedFiles, u32>,
    /// Numbers of each rule's sources.
    sources: Vec<BTreeSet<u32>>,
    /// Sources that cover a subject; the subject's number is its index + 1.
    subjects: Vec<BTreeSet<u32>>,
}

// === impl Judge ===

impl<'r> Judge<'r> {
    pub(super) fn new(rules: &'r RuleSet, numbers: &HashMap<&Source, u32>) -> Self {
        let (keeps, rules) = (rules.keeps_permitted(), rules.rules());
        let number = |source| numbers.get(source).copied();
        let sources =
            rules.iter().map(|rule| rule.sources.iter().filter_map(number).collect()).collect();
        let named =
            |(source, number): (&&Source, &u32)| (NamedFiles::from((*source).clone()), *number);
        let numbers = numbers.iter().map(named).collect();
        Self { rules, keeps, numbers, sources, subjects: Vec::new() }
    }

    /// The rule of an index.
    #[must_use]
    pub fn rule(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index)
    }

    /// Number of the subject that these sources cover; none if none does.
    pub(super) fn subject_of(&mut self, sources: BTreeSet<u32>) -> Option<u32> {
        if sources.is_empty() {
            return None;
        }
        let known = self.subjects.iter().position(|known| *known == sources);
        let at = known.unwrap_or_else(|| {
            self.subjects.push(sources);
            self.subjects.len() - 1
        });
        u32::try_from(at + 1).ok()
    }

    /// Decisions on each class by itself, and of those that have arguments by these too, with their
    /// numbers.
    pub(super) fn judge_all(&self, classes: &[Members]) -> Result<JudgedAll, LowerError> {
        let mut judged = JudgedAll::default();
        for (number, members) in (1..).zip(classes) {
            let objects = members.iter().filter_map(|member| match member {
                Member::Object(rule) => Some(*rule),
                Member::Source(_) => None,
            });
            let rules: Vec<_> = objects.collect();
            let got = self.lists(&rules, |_| true).len();
            if got > MAX_LISTS {
                let what = "different lists of allowed arguments on one program";
                return Err(LowerError::TooMany { what, got, most: MAX_LISTS });
            }
            let Judged { mut by_itself, arguments } = self.judge(&rules);
            by_itself.decisions.extend(self.kept(&rules));
            judged.classes.push(by_itself);
            judged.arguments.extend(arguments.map(|arguments| (number, arguments)));
        }
        let by_arguments = judged.arguments.iter().flat_map(|(_, found)| found.by_lists.values());
        let all = judged.classes.iter().chain(by_arguments);
        let got = all.map(|class| class.decisions.len()).sum();
        if got > MAX_DECISIONS {
            return Err(LowerError::TooMany { what: "decisions", got, most: MAX_DECISIONS });
        }
        Ok(judged)
    }

    /// Decisions on an object of which these rules speak, without those on applets.
    #[must_use]
    pub fn judge(&self, rules: &[usize]) -> Judged {
        self.judge_listed(rules, |rule| of_applets(rule).is_none())
    }

    /// Decisions on an inode that is held for some rules, and whose other names these permit to be
    /// executed.
    #[must_use]
    pub fn judge_held(&self, held: &[usize], permitting: &[usize]) -> Judged {
        let mut judged = self.judge(held);
        judged.by_itself.decisions.extend(self.kept(permitting));
        judged
    }

    /// Numbers of what acts as these sources.
    #[must_use]
    pub fn numbers_of<'s>(&self, sources: impl Iterator<Item = &'s NamedFiles>) -> BTreeSet<u32> {
        sources.filter_map(|source| self.numbers.get(source)).copied().collect()
    }

    /// What Block rules that are limited to these sources say of an object, by category.
    #[must_use]
    pub fn judge_acting(
        &self,
        rules: &[usize],
        acting: &BTreeSet<u32>,
    ) -> Vec<(u32, abi::Decision)> {
        let decide = |(category, number): (Category, u32)| {
            let speaks = |index: &usize| {
                let is_blocked =
                    |rule: &Rule| rule.category == category && rule.action == Action::Block;
                self.rule(*index).is_some_and(is_blocked)
                    && self.sources_of(*index).is_some_and(|own| !own.is_disjoint(acting))
            };
            Some((number, self.decide(rules.iter().copied().filter(speaks))?))
        };
        [(Category::Process, abi::PROCESS), (Category::File, abi::FILE)]
            .into_iter()
            .filter_map(decide)
            .collect()
    }

    /// What a guard says of an object, in the name of those of these rules that permit it: whoever is
    /// to execute it, for everybody else would write it.
    fn kept(&self, rules: &[usize]) -> Option<(u32, u32, abi::Decision)> {
        let rules = rules.iter().filter_map(|index| self.rule(*index));
        let permitting = rules.filter(|rule| self.keeps && rule.permits_programs());
        let rules: Vec<_> = permitting.map(|rule| rule.id).collect();
        if rules.is_empty() {
            return None;
        }
        let (verdict, reason) = (Verdict::Block, Some(Reason::Rule));
        let decision = eval::Decision { verdict, reason, rules };
        // It is asked for by itself and compared with no other, so that any rank will do.
        let rank = Rank { sourced: false, place: Place::Exact };
        Some((abi::PERMITTED, 0, encode(rank, &decision)))
    }

    pub(super) fn judge_those(
        &self,
        rules: &[usize],
        counts: impl Fn(&Rule) -> bool,
    ) -> JudgedClass {
        let categories = [(Category::Process, abi::PROCESS), (Category::File, abi::FILE)];
        let mut judged = JudgedClass::default();
        for (category, number) in categories {
            let rules: Vec<_> = rules
                .iter()
                .copied()
                .filter(|index| {
                    self.rule(*index).is_some_and(|rule| rule.category == category && counts(rule))
                })
                .collect();
            self.judge_category(number, &rules, &mut judged);
        }
        judged
    }

    fn judge_category(&self, category: u32, rules: &[usize], judged: &mut JudgedClass) {
        let is_generic = |index: &usize| self.sources_of(*index).is_none();
        let mut add = |subject, decision: Option<abi::Decision>| {
            judged.decisions.extend(decision.map(|decision| (category, subject, decision)));
        };
        add(0, self.decide(rules.iter().copied().filter(is_generic)));
        if rules.iter().all(is_generic) {
            return;
        }
        for (subject, covered) in (1..).zip(&self.subjects) {
            let acts = |index: &usize| {
                self.sources_of(*index).is_some_and(|sources| !sources.is_disjoint(covered))
            };
            add(subject, self.decide(rules.iter().copied().filter(acts)));
        }
    }

    fn sources_of(&self, index: usize) -> Option<&BTreeSet<u32>> {
        self.sources.get(index).filter(|sources| !sources.is_empty())
    }

    /// The decision of the most specific of these rules.
    fn decide(&self, rules: impl Iterator<Item = usize> + Clone) -> Option<abi::Decision> {
        let rules = rules.filter_map(|index| self.rule(index));
        let best = rules.clone().map(Rank::of).max()?;
        let deciding: Vec<_> = rules.filter(|rule| Rank::of(rule) == best).collect();
        eval::decide(&deciding).map(|decision| encode(best, &decision))
    }
}

fn encode(rank: Rank, decision: &eval::Decision) -> abi::Decision {
    let mut encoded = abi::Decision {
        rank: rank.encode(),
        verdict: match decision.verdict {
            Verdict::Allow => abi::VERDICT_ALLOW,
            Verdict::Audit => abi::VERDICT_AUDIT,
            Verdict::Block => abi::VERDICT_BLOCK,
        },
        total_rules: u32::try_from(decision.rules.len()).unwrap_or(u32::MAX),
        ..abi::Decision::default()
    };
    for (slot, rule) in encoded.rules.iter_mut().zip(&decision.rules) {
        *slot = rule.0;
        encoded.rules_len += 1;
    }
    encoded
}
