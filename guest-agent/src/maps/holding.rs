// SPDX-License-Identifier: Apache-2.0
//! What a plan says of identities, by the numbers that stand for them in the kernel's tables.

use std::collections::{BTreeSet, HashMap};

use super::{Maps, identity::Tag};
use crate::{
    identify::Found,
    lower::{Identity, Plan},
};

/// What a plan says of identities.
pub(super) struct Holding<'p> {
    pub(super) plan: &'p Plan<'p>,
    pub(super) rules: HashMap<Tag, (&'p Identity, &'p [usize])>,
}

// === impl Maps ===

impl Maps {
    pub(super) fn holding<'p>(&self, plan: &'p Plan<'p>) -> Holding<'p> {
        let rules = plan.identities.iter();
        let rules =
            rules.map(|(identity, rules)| (self.tag(identity), (identity, rules.as_slice())));
        Holding { plan, rules: rules.collect() }
    }

    pub(super) fn tags(&self, holding: &Holding<'_>, found: &Found) -> BTreeSet<Tag> {
        let tags = found.identities.iter().map(|identity| self.tag(identity));
        tags.filter(|tag| holding.rules.contains_key(tag)).collect()
    }

    pub(super) fn tag(&self, identity: &Identity) -> Tag {
        self.hash_key.name(&identity.key())
    }
}

// === impl Holding ===

impl Holding<'_> {
    /// Rules whose object is held for these.
    pub(super) fn held_rules(&self, tags: &BTreeSet<Tag>) -> Vec<usize> {
        self.rules_of(tags, |identity| {
            !matches!(identity, Identity::Permitted(_) | Identity::Source(_))
        })
    }

    /// Numbers of the sources that what is held for these acts as.
    pub(super) fn sources_of(&self, tags: &BTreeSet<Tag>) -> BTreeSet<u32> {
        let held = tags.iter().filter_map(|tag| self.rules.get(tag));
        let sources = held.filter_map(|(identity, _)| match identity {
            Identity::Source(named) => Some(named),
            _ => None,
        });
        self.plan.judge.numbers_of(sources)
    }

    /// Rules that speak of what is held for these, of those identities that count.
    pub(super) fn rules_of(
        &self,
        tags: &BTreeSet<Tag>,
        counts: impl Fn(&Identity) -> bool,
    ) -> Vec<usize> {
        let held = tags.iter().filter_map(|tag| self.rules.get(tag));
        let rules = held.filter(|(identity, _)| counts(identity)).flat_map(|(_, rules)| *rules);
        rules.copied().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
