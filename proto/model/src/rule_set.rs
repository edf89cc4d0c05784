// SPDX-License-Identifier: Apache-2.0
//! The rule set of one container.

use std::{collections::BTreeSet, num::NonZeroU64};

use crate::{
    feature::Feature,
    ids::{Generation, Target},
    options::{Options, Posture, Postures},
    rule::{Action, Category, Rule},
};

/// Version of the meaning that this crate implements.
pub const FORMAT: u32 = 1;

/// Whole desired state of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// The container.
    pub target: Target,
    /// Number of this set.
    pub generation: Generation,
    /// Seconds since the epoch after which it must not be applied. Never zero, which means "no
    /// limit" on the wire.
    pub not_after: Option<NonZeroU64>,
    /// What happens to unmatched accesses of whitelisted categories.
    pub postures: Postures,
    /// Hardening primitives.
    pub options: Options,
    /// Ascending by id, without two of the same id.
    rules: Vec<Rule>,
}

// === impl RuleSet ===

impl RuleSet {
    /// A set without rules.
    #[must_use]
    pub fn empty(target: Target, generation: Generation) -> Self {
        Self {
            target,
            generation,
            not_after: None,
            postures: Postures::default(),
            options: Options::default(),
            rules: Vec::new(),
        }
    }

    /// Takes these rules in their canonical order. Of two with one id one stays: the id is a hash
    /// of all that they say.
    #[must_use]
    pub fn with_rules(mut self, mut rules: Vec<Rule>) -> Self {
        rules.iter_mut().for_each(Rule::canonicalise);
        rules.sort();
        rules.dedup_by_key(|rule| rule.id);
        self.rules = rules;
        self
    }

    /// The rules, ascending by id.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What a guest must support to enforce this set.
    #[must_use]
    pub fn features(&self) -> BTreeSet<Feature> {
        let rules = self.rules.iter().flat_map(Feature::of_rule);
        rules.chain(Feature::of_options(&self.options)).collect()
    }

    /// Whether an access that no rule matches is judged by the posture.
    #[must_use]
    pub fn is_whitelist(&self, category: Category) -> bool {
        self.rules.iter().any(|rule| rule.category == category && rule.action == Action::Allow)
    }

    /// Whether what its rules permit to be executed keeps its content: only where nothing else is
    /// executed is there anything to be gained by another one.
    #[must_use]
    pub fn keeps_permitted(&self) -> bool {
        self.options.allow_guard
            && self.is_whitelist(Category::Process)
            && self.posture(Category::Process) == Posture::Block
    }

    /// Posture of a category; system calls have none and are permitted.
    #[must_use]
    pub fn posture(&self, category: Category) -> Posture {
        match category {
            Category::Process => self.postures.process,
            Category::File => self.postures.file,
            Category::Network => self.postures.network,
            Category::Dns => self.postures.dns,
            Category::Capability => self.postures.capability,
            Category::Syscall => Posture::Allow,
        }
    }
}
