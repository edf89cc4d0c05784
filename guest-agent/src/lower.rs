// SPDX-License-Identifier: Apache-2.0
//! From a rule set to what the kernel looks up.
//!
//! A [`RuleSet`], whose paths are the container's, and the container's mounts flow in; a [`Plan`]
//! flows out: places of super blocks with their classes, decisions by (class, subject), and the
//! files to hold by identity. Pure: it opens nothing and knows no map. `maps.rs` writes the plan.

mod applets;
mod arguments;
mod classes;
mod flags;
mod identities;
mod judge;
mod places;
mod ruled;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use guest_bpf::abi;
use policy_model::{Category, Feature, Posture, RuleId, RulePath, RuleSet, eval::UnsupportedRule};

pub use applets::JudgedApplets;
pub use arguments::{Judged, JudgedArguments, has_unknown_lists};
pub use flags::unsupported_option;
pub use identities::{Identity, NamedFiles, has_identities, identities_of, sorted_identities_of};
pub use judge::{Judge, JudgedClass};
pub use places::{Place, Places};

use crate::containers::Mount;
use classes::{Classes, Member, Members};
use flags::flags_of;
use judge::JudgedAll;

/// Places that one set may have: half of the kernel's map, so that two sets fit.
pub const MAX_PLACES: usize = 1024 * 1024;

/// Names of all places of one set: one for each that it may have. A container that mounts one directory
/// in many places gives each place below it as many names.
pub const MAX_NAMES: usize = MAX_PLACES;

/// Decisions that one set may have: half of the kernel's map.
pub const MAX_DECISIONS: usize = 512 * 1024;

/// What is written into the kernel for one rule set.
#[derive(Debug)]
pub struct Plan<'r> {
    /// Generation of the rule set.
    pub generation: u64,
    /// `abi::SET_*`.
    pub flags: u32,
    /// Super blocks of the host's shares, as far as there is room for them.
    pub shares: [u32; abi::MAX_SHARES],
    /// Verdict of programs that no rule matches.
    pub process_default: u8,
    /// Verdict of files that no rule matches.
    pub file_default: u8,
    /// Ruled places with their ancestors; parents come before their children.
    pub places: Vec<PlannedPlace>,
    /// What each class means.
    pub classes: Vec<JudgedClass>,
    /// Of these classes, rules of those that are limited to sources.
    pub sourced: Vec<(u32, Vec<usize>)>,
    /// What those of these classes mean that rules on arguments speak of.
    pub arguments: Vec<(u32, JudgedArguments)>,
    /// Classes of executables that are somebody's source, with their subject.
    pub subjects: Vec<(u32, u32)>,
    /// Files to hold by identity, with the rules that say so.
    pub identities: HashMap<Identity, Vec<usize>>,
    /// Paths of rules that have no place on one of the container's mounts, and why.
    pub nowhere: BTreeMap<String, String>,
    /// Where atomic writers are at work: rules name their links, and hold for what these lead to.
    pub atomic: Vec<RulePath>,
    /// Decides for classes that only show when the files are opened.
    pub judge: Judge<'r>,
}

/// A place with its classes.
#[derive(Clone, Debug)]
pub struct PlannedPlace {
    /// Where it is.
    pub place: Place,
    /// Classes of the object itself, its unruled children, and everything deeper.
    pub node: abi::Node,
}

/// Why a rule set cannot be put into force in this container.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// A rule of a kind that this agent does not enforce.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedRule),
    /// An option that this agent does not enforce.
    #[error("the rule set needs `{0}`, which is not built yet")]
    UnsupportedOption(Feature),
    /// The container has no mount that holds this path.
    #[error("no mount of the container holds `{0}`; its mount table has no root")]
    NoMount(String),
    /// Deeper than the kernel hashes, counted from the root of the super block.
    #[error("`{path}` lies {depth} directories deep in its file system; the engine matches {most}")]
    TooDeep {
        /// Path in the container.
        path: String,
        /// Components from the super block's root.
        depth: usize,
        /// The most that is matched.
        most: usize,
    },
    /// More than the kernel's maps hold.
    #[error("the rules need {got} {what}; the engine takes {most} for one container")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        got: usize,
        /// The most.
        most: usize,
    },
}

/// Plans a rule set for a container with these views of its mounts, of which the first is that of its
/// registration.
///
/// # Errors
/// If a rule is of a kind that is not enforced, or a limit is exceeded; nothing is planned then.
pub fn lower<'r>(rules: &'r RuleSet, views: &[Vec<Mount>]) -> Result<Plan<'r>, LowerError> {
    check_supported(rules)?;
    let mut places = Places::of(rules, views)?;
    let nowhere = places.take_nowhere();
    let mut classes = Classes::of(rules);
    let mut planned = Vec::new();
    places.visit(|place, names| {
        let node = abi::Node { flags: place.flags, ..classes.node_of(names) };
        planned.push(PlannedPlace { place, node });
    })?;
    let places = planned;
    let (members, subjects, judge) = classes.finish(rules);
    let JudgedAll { classes, arguments } = judge.judge_all(&members)?;
    Ok(Plan {
        generation: rules.generation.0,
        flags: flags_of(rules) | exactness_of(&places),
        shares: shares_of(views),
        process_default: default_of(rules, Category::Process),
        file_default: default_of(rules, Category::File),
        places,
        classes,
        sourced: sourced_of(rules, &members),
        arguments,
        subjects,
        identities: identities_of(rules),
        nowhere,
        atomic: views.iter().flatten().filter(|it| it.atomic).map(|it| it.point.clone()).collect(),
        judge,
    })
}

// === impl Plan ===

impl Plan<'_> {
    /// Components of the deepest place, with one more for the directories of an atomic writer.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let deepest = self.places.iter().map(|planned| planned.place.depth).max();
        let atomic = self.places.iter().any(|place| place.node.flags & abi::NODE_ATOMIC != 0);
        u32::try_from(deepest.unwrap_or_default() + usize::from(atomic)).unwrap_or(u32::MAX)
    }

    /// Whether a path is one of those that an atomic writer links.
    #[must_use]
    pub fn is_linked(&self, path: &RulePath) -> bool {
        self.atomic.iter().any(|point| path.below(point).is_some_and(|below| !below.is_empty()))
    }

    /// Ids of these rules, for messages.
    #[must_use]
    pub fn ids(&self, rules: &[usize]) -> Vec<RuleId> {
        rules.iter().filter_map(|index| self.judge.rule(*index)).map(|rule| rule.id).collect()
    }
}

fn sourced_of(rules: &RuleSet, members: &[Members]) -> Vec<(u32, Vec<usize>)> {
    let sourced = |member: &Member| match member {
        Member::Object(at)
            if rules.rules().get(*at).is_some_and(|rule| !rule.sources.is_empty()) =>
        {
            Some(*at)
        }
        _ => None,
    };
    let of_class = |members: &Members| members.iter().filter_map(sourced).collect::<Vec<_>>();
    let by_class = (1..).zip(members.iter().map(of_class));
    by_class.filter(|(_, rules)| !rules.is_empty()).collect()
}

/// Whether rules speak of places alone, not of what lies below one.
fn exactness_of(places: &[PlannedPlace]) -> u32 {
    let exact = places.iter().all(|PlannedPlace { node, .. }| node.child == 0 && node.deep == 0);
    if exact { abi::SET_EXACT } else { 0 }
}

fn shares_of(views: &[Vec<Mount>]) -> [u32; abi::MAX_SHARES] {
    let is_share =
        |mount: &&Mount| mount.fs_type == "virtiofs" || mount.fs_type.starts_with("fuse");
    let devs: BTreeSet<_> =
        views.iter().flatten().filter(is_share).map(|mount| mount.dev).collect();
    let mut shares = [0; abi::MAX_SHARES];
    shares.iter_mut().zip(devs).for_each(|(share, dev)| *share = dev);
    shares
}

fn check_supported(rules: &RuleSet) -> Result<(), LowerError> {
    for rule in rules.rules() {
        policy_model::eval::check_supported(rule)?;
    }
    unsupported_option(rules).map_or(Ok(()), |option| Err(LowerError::UnsupportedOption(option)))
}

fn default_of(rules: &RuleSet, category: Category) -> u8 {
    if !rules.is_whitelist(category) {
        return abi::VERDICT_NONE;
    }
    match rules.posture(category) {
        Posture::Allow => abi::VERDICT_ALLOW,
        Posture::Audit => abi::VERDICT_AUDIT,
        Posture::Block => abi::VERDICT_BLOCK,
    }
}
