// SPDX-License-Identifier: Apache-2.0
//! Rules on arguments: what an object is decided to be, by which lists have all that a program was
//! given.
//!
//! The kernel finds out which lists have each argument, and what is left after the last one chooses
//! the decision. No list is the object by itself: what rules deny without a list's leave.

use std::collections::{BTreeMap, BTreeSet};

use policy_model::{Action, Category, Rule};

use super::judge::{Judge, JudgedClass};

/// Different lists that one object may have: each doubles what is decided of it in advance.
pub(super) const MAX_LISTS: usize = 5;

/// Decisions on an object of which rules on arguments speak.
#[derive(Clone, Debug)]
pub struct JudgedArguments {
    /// A bit for each list.
    pub all: u32,
    /// Which lists have an argument; none have any other.
    pub lists_of: BTreeMap<String, u32>,
    /// Decisions if these lists have all arguments.
    pub by_lists: BTreeMap<u32, JudgedClass>,
}

/// Decisions on an object, whatever it is given, and by what it is given.
#[derive(Clone, Debug)]
pub struct Judged {
    /// If no list has all arguments, or they are not known.
    pub by_itself: JudgedClass,
    /// None if no rule has a list.
    pub arguments: Option<JudgedArguments>,
}

// === impl Judge ===

impl Judge<'_> {
    /// Decisions on an object of which those of these rules speak that count.
    pub(super) fn judge_listed(&self, rules: &[usize], counts: impl Fn(&Rule) -> bool) -> Judged {
        let lists = self.lists(rules, &counts);
        let with =
            |mask: u32| self.judge_those(rules, |rule| counts(rule) && is_met(rule, &lists, mask));
        Judged { by_itself: with(0), arguments: judge_arguments(&lists, with) }
    }

    /// The different lists that those of these rules have that count. Beyond [`MAX_LISTS`] what a list
    /// has is not known to the kernel, as if it had nothing.
    pub(super) fn lists(&self, rules: &[usize], counts: impl Fn(&Rule) -> bool) -> Vec<&[String]> {
        let rules = rules.iter().filter_map(|index| self.rule(*index));
        let listing = rules.filter(|rule| rule.category == Category::Process && counts(rule));
        let lists = listing.map(|rule| rule.allowed_args.as_slice());
        let lists: BTreeSet<_> = lists.filter(|list| !list.is_empty()).collect();
        lists.into_iter().collect()
    }
}

/// Whether a list of these rules is one too many for the kernel: only of an inode that several rules
/// hold under different names, for those of one name are refused together.
#[must_use]
pub fn has_unknown_lists(judge: &Judge<'_>, rules: &[usize]) -> bool {
    judge.lists(rules, |_| true).len() > MAX_LISTS
}

fn judge_arguments(
    lists: &[&[String]],
    with: impl Fn(u32) -> JudgedClass,
) -> Option<JudgedArguments> {
    if lists.is_empty() {
        return None;
    }
    let mut lists_of: BTreeMap<String, u32> = BTreeMap::new();
    let numbered = lists.iter().take(MAX_LISTS).enumerate();
    for (argument, list) in numbered.flat_map(|(at, list)| list.iter().map(move |word| (word, at)))
    {
        *lists_of.entry(argument.clone()).or_default() |= 1 << list;
    }
    let all = (1 << lists.len().min(MAX_LISTS)) - 1;
    let by_lists = (1..=all).map(|mask| (mask, with(mask))).collect();
    Some(JudgedArguments { all, lists_of, by_lists })
}

/// Whether a rule speaks where these lists have all arguments.
fn is_met(rule: &Rule, lists: &[&[String]], mask: u32) -> bool {
    if rule.allowed_args.is_empty() {
        return true;
    }
    let at = lists.iter().position(|list| *list == rule.allowed_args);
    let listed = at.is_some_and(|at| at < MAX_LISTS && mask & 1 << at != 0);
    listed == (rule.action == Action::Allow)
}
