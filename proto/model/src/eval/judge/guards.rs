// SPDX-License-Identifier: Apache-2.0
//! Names that options keep: of what may not be executed, of what is permitted where nothing else is, and
//! of directories that lead there.

use super::{EACCES, Judge, Judgement, UnsupportedRule};
use crate::{
    eval::Decision,
    event::{Reason, Verdict},
    hook::File,
    ids::RuleId,
    object::{Match, Object, PathObject},
    options::NameGuard,
    path::RulePath,
    primitive::Primitive,
    rule::{Action, Category, Rule},
};

// === impl Judge ===

impl Judge<'_> {
    /// What may not be executed keeps its name, and no other takes it. Directories stay where they
    /// are while rules that know their objects by name alone, or with `ancestors` any rules, speak
    /// of what is in them.
    pub(super) fn guarded(&self, file: &File) -> Result<Option<Judgement>, UnsupportedRule> {
        let guard = self.rules.options.name_guard;
        if guard == NameGuard::None {
            return Ok(None);
        }
        let by_name = File::place(file.path.clone());
        if let Some(decision) = self.blocking_rules(&by_name)?.or(self.exec_blocked(file)?) {
            let primitive = Some(Primitive::NameGuard);
            return Ok(Some(Judgement { primitive, ..Judgement::by_rules(decision) }));
        }
        let Some(path) = &file.path else { return Ok(None) };
        let keeps = |rule: &&Rule| {
            let below = place_of(rule).and_then(|place| place.below(path));
            below.is_some_and(|below| {
                self.is_by_name_alone(rule) || guard == NameGuard::Ancestors && !below.is_empty()
            })
        };
        let mut blocks = self.rules.rules().iter().filter(|rule| rule.action == Action::Block);
        Ok(blocks
            .any(|rule| keeps(&rule))
            .then(|| Judgement::hardened(Primitive::NameGuard, EACCES)))
    }

    /// What rules permit to be executed gets no other content, unless a rule on files permits that.
    pub(super) fn kept(&self, file: &File) -> Result<Option<Judgement>, UnsupportedRule> {
        if !self.rules.keeps_permitted() || self.may_be_changed(file)? {
            return Ok(None);
        }
        let by_name = self.rules_that_permit(file.path.as_slice());
        let rules =
            if by_name.is_empty() { self.rules_that_permit(&file.permitted) } else { by_name };
        let decision = Decision { verdict: Verdict::Block, reason: Some(Reason::Rule), rules };
        let primitive = Some(Primitive::AllowGuard);
        let kept = Judgement { primitive, ..Judgement::by_rules(decision) };
        Ok(Some(kept).filter(|kept| !kept.decision.rules.is_empty()))
    }

    /// Nothing is moved there either that may bring other contents along.
    pub(super) fn kept_place(&self, file: &File) -> Result<Option<Judgement>, UnsupportedRule> {
        if let Some(kept) = self.kept(file)? {
            return Ok(Some(kept));
        }
        let Some(path) = &file.path else { return Ok(None) };
        let is_above = |rule: &&Rule| {
            rule.permits_programs() && place_of(rule).is_some_and(|at| at.below(path).is_some())
        };
        let keeps = self.rules.keeps_permitted() && !self.may_be_changed(file)?;
        let above = self.rules.rules().iter().any(|rule| is_above(&rule));
        Ok((keeps && above).then(|| Judgement::hardened(Primitive::AllowGuard, EACCES)))
    }

    fn may_be_changed(&self, file: &File) -> Result<bool, UnsupportedRule> {
        let decision = self.decide(Category::File, file)?;
        Ok(decision.verdict == Verdict::Allow && decision.reason == Some(Reason::Rule))
    }

    /// Those that permit one of these names to be executed, by whomever.
    fn rules_that_permit(&self, names: &[RulePath]) -> Vec<RuleId> {
        let permits = |rule: &&Rule| names.iter().any(|name| rule.permits_program_at(name));
        self.rules.rules().iter().filter(permits).map(|rule| rule.id).collect()
    }

    /// No rule holds the objects of this one by identity.
    fn is_by_name_alone(&self, rule: &Rule) -> bool {
        let Object::Path(PathObject { path, matching }) = &rule.object else { return true };
        let twin = Object::Path(PathObject { path: path.clone(), matching: Match::Identity });
        let is_twin = |other: &Rule| {
            other.action == Action::Block && other.category == rule.category && other.object == twin
        };
        *matching == Match::Name && !self.rules.rules().iter().any(is_twin)
    }

    pub(super) fn covering_mount(&self, at: &File) -> Option<Judgement> {
        let point = at.path.as_ref()?;
        let keeps = self.rules.keeps_permitted();
        let covers = |rule: &&Rule| {
            (rule.action == Action::Block || keeps && rule.permits_programs())
                && (place_of(rule).is_some_and(|place| place.below(point).is_some())
                    || matches!(&rule.object, Object::Directory(found) if found.covers(point)))
        };
        let covered = self.rules.rules().iter().any(|rule| covers(&rule));
        covered.then(|| Judgement::hardened(Primitive::CoveringMount, EACCES))
    }
}

/// Where a rule's object lies.
fn place_of(rule: &Rule) -> Option<&RulePath> {
    if !matches!(rule.category, Category::Process | Category::File) {
        return None;
    }
    match &rule.object {
        Object::Path(PathObject { path, matching: Match::Name | Match::Identity }) => Some(path),
        Object::Directory(directory) => Some(&directory.path),
        _ => None,
    }
}
