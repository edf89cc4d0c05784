// SPDX-License-Identifier: Apache-2.0
//! How a rule set comes into force, in the order of this page.
//!
//! Bytes of an envelope flow in from `server.rs`, [`Applied`] flows out. What comes in between is
//! elsewhere: meaning in `policy_model::wire`, the plan in `lower.rs`, the kernel's tables in
//! `maps.rs`, the containers in `registry.rs`. A set that fails anywhere changes nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use kadapter_proto::guest::v1 as pb;
use policy_model::{
    Digest, Directory, Generation, Object, PathObject, Rule, RuleId, RuleSet, Source, Target, eval,
    wire::{self, InvalidRuleSet},
};
use prost::Message as _;

use crate::{
    containers::{Init, Mounts, Root},
    identify::Findings,
    lower::{LowerError, Plan, lower, unsupported_option},
    maps::{Residue, ResidueReason, Slot, not_carried},
    registry::{Kernel, Registry},
};

pub use self::error::{ApplyError, StaleRuleSet};

mod error;

/// A rule set that this agent can enforce.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The set.
    pub rules: Arc<RuleSet>,
    /// SHA-256 of its bytes as sent.
    pub digest: Digest,
}

/// A rule set in force, or held for a container that does not exist yet.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The container by name.
    pub target: Target,
    /// Number of the set.
    pub generation: Generation,
    /// SHA-256 of its bytes as sent.
    pub digest: Digest,
    /// Whether a container of this name is under it.
    pub bound: bool,
    /// What could not be put into force as asked.
    pub residues: Vec<Residue>,
}

/// A container that has a slot in the kernel.
pub struct Place<'a> {
    /// The slot.
    pub slot: Slot,
    /// Its first process.
    pub init: &'a Init,
    /// Its root directory.
    pub root: &'a Root,
}

/// Puts the set in an envelope into force; tells how long that took. The envelope is gone before
/// anything is waited for.
///
/// # Errors
/// The first step that failed.
pub async fn apply(
    registry: &Registry,
    envelope: impl AsRef<[u8]>,
) -> Result<(Applied, Duration), ApplyError> {
    let received = Instant::now();
    let accepted = accept(envelope.as_ref())?;
    drop(envelope);
    let applied = registry.apply(accepted).await?;
    Ok((applied, received.elapsed()))
}

/// From bytes to a set that this agent can enforce.
///
/// # Errors
/// The first reason why it cannot.
pub fn accept(envelope: &[u8]) -> Result<Accepted, ApplyError> {
    wire::check_envelope(envelope).map_err(|error| match error {
        InvalidRuleSet::Malformed(why) => ApplyError::Envelope(why),
        other => other.into(),
    })?;
    let envelope =
        pb::Envelope::decode(envelope).map_err(|error| ApplyError::Envelope(error.to_string()))?;
    let digest = Digest::of(&envelope.payload);
    let rules = wire::decode(&envelope.payload)?;
    check_supported(&rules)?;
    Ok(Accepted { rules: Arc::new(rules), digest })
}

/// A set that is in the kernel beside the one in force.
#[derive(Debug)]
pub struct Staged<'r> {
    /// Where.
    pub slot: Slot,
    /// What could not be staged as asked.
    pub residues: Vec<Residue>,
    plan: Plan<'r>,
}

/// From a set to the kernel, for one container: with the mounts that it has now, and the files that
/// were found for it. It is not in force yet.
///
/// # Errors
/// If the set cannot be put into force there; nothing is staged.
pub fn stage<'r>(
    kernel: &mut impl Kernel,
    place: &Place<'_>,
    rules: &'r RuleSet,
    findings: &Findings,
) -> Result<Staged<'r>, ApplyError> {
    let (plan, unread) = plan(rules, place.root.mounts(place.init)?)?;
    let mut residues = kernel.stage(place.slot, &plan, findings)?;
    residues.extend(rules.rules().iter().filter_map(|rule| nowhere(rule, &plan)));
    if let Some(why) = unread.filter(|_| !rules.rules().is_empty()) {
        let detail = format!("{why}: what was mounted since its registration is not known");
        let (rule, reason) = (RuleId(0), ResidueReason::MountsUnread);
        residues.push(Residue { rule, reason, detail });
    }
    Ok(Staged { slot: place.slot, residues, plan })
}

/// With the mounts of now, or, if the container has made more of them than a set has room for, with
/// those of its registration alone, and why.
fn plan(rules: &RuleSet, mounts: Mounts) -> Result<(Plan<'_>, Option<String>), LowerError> {
    let Mounts { views, unread } = mounts;
    match (lower(rules, &views), views.first()) {
        (Err(error @ LowerError::TooMany { .. }), Some(first)) if views.len() > 1 => {
            let plan = lower(rules, std::slice::from_ref(first))?;
            Ok((plan, Some(error.to_string())))
        }
        (planned, _) => Ok((planned?, unread)),
    }
}

/// What is in force since the switch; what failed after it is a residue, for the set stays in force.
pub fn settle(kernel: &mut impl Kernel, staged: Staged<'_>) -> Vec<Residue> {
    let Staged { slot, mut residues, plan } = staged;
    if let Err(error) = kernel.settle(slot, &plan) {
        residues.extend(not_carried(&plan, &error));
    }
    residues
}

/// Stages, switches and settles, for one container.
///
/// # Errors
/// If the set cannot be put into force there; the one before it stays.
pub fn put_into_force(
    kernel: &mut impl Kernel,
    place: &Place<'_>,
    rules: &RuleSet,
    findings: &Findings,
) -> Result<Vec<Residue>, ApplyError> {
    let staged = stage(kernel, place, rules, findings)?;
    match kernel.switch_all(&[staged.slot]) {
        Ok(()) => Ok(settle(kernel, staged)),
        Err(error) => Err(take_back(kernel, [staged], error.into())),
    }
}

/// Takes back what was staged and is not in force; the error is that of the first failure, with what
/// followed from it.
pub fn take_back<'r>(
    kernel: &mut impl Kernel,
    staged: impl IntoIterator<Item = Staged<'r>>,
    first: ApplyError,
) -> ApplyError {
    staged.into_iter().fold(first, |first, staged| match kernel.unstage(staged.slot) {
        Ok(()) => first,
        Err(second) => ApplyError::NotTakenBack { first: Box::new(first), second },
    })
}

/// What is left of a rule whose path leads to a mount without places.
fn nowhere(rule: &Rule, plan: &Plan<'_>) -> Option<Residue> {
    let object = match &rule.object {
        Object::Path(PathObject { path, .. }) | Object::Directory(Directory { path, .. }) => {
            Some(path)
        }
        _ => None,
    };
    let sources = rule.sources.iter().map(|source| match source {
        Source::Path(path) | Source::Directory(Directory { path, .. }) => path,
    });
    let paths = object.into_iter().chain(sources);
    let (path, why) = paths.flat_map(|path| plan.nowhere.get_key_value(path.as_str())).next()?;
    let detail = format!("`{path}` has no place: {why}");
    Some(Residue { rule: rule.id, reason: ResidueReason::Nowhere, detail })
}

/// Refuses a set that must not be applied any more.
///
/// # Errors
/// If its time is over.
pub fn check_expiry(rules: &RuleSet, now: SystemTime) -> Result<(), ApplyError> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    match rules.not_after {
        Some(not_after) if now > not_after.get() => {
            Err(ApplyError::Expired { target: rules.target.clone(), not_after: not_after.get() })
        }
        _ => Ok(()),
    }
}

// === impl Accepted ===

impl Accepted {
    /// A set without rules, for containers that have none.
    #[must_use]
    pub fn empty(target: Target) -> Self {
        let rules = RuleSet::empty(target, Generation(0));
        Self { digest: wire::digest(&rules), rules: Arc::new(rules) }
    }
}

fn check_supported(rules: &RuleSet) -> Result<(), ApplyError> {
    if let Some(option) = unsupported_option(rules) {
        return Err(ApplyError::Option(option));
    }
    Ok(rules.rules().iter().try_for_each(eval::check_supported)?)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use policy_model::{
        Action, Category, Feature, Match, Object, Options, PathObject, Revoke, Rule, RuleId,
        RulePath,
    };

    use super::*;
    use crate::containers::{Mount, mountinfo};

    fn path(text: &str) -> Object {
        let path = RulePath::new(text).unwrap();
        Object::Path(PathObject { path, matching: Match::Name })
    }

    fn rules(object: Object, category: Category) -> RuleSet {
        let rule = Rule::new(RuleId(7), category, Action::Block, object);
        let target = Target { namespace: "prod".into(), ..Target::default() };
        RuleSet::empty(target, Generation(1)).with_rules(vec![rule])
    }

    fn envelope(rules: &RuleSet) -> Vec<u8> {
        pb::Envelope { payload: wire::encode(rules), signatures: Vec::new() }.encode_to_vec()
    }

    #[test]
    fn the_digest_is_that_of_the_bytes_as_sent() {
        let rules = rules(path("/usr/bin/apt"), Category::Process);
        let accepted = accept(&envelope(&rules)).unwrap();
        assert_eq!(accepted.digest, Digest::of(&wire::encode(&rules)));
        assert_eq!(*accepted.rules, rules);
    }

    #[test]
    fn bytes_that_are_no_rule_set_are_refused() {
        assert!(matches!(accept(b"\xff\xff"), Err(ApplyError::Envelope(_))));
        let unsigned = pb::Signature { key_id: "\u{fffd}".into(), signature: Vec::new() };
        let mut bytes = envelope(&rules(path("/a"), Category::File));
        bytes.extend(
            pb::Envelope { payload: Vec::new(), signatures: vec![unsigned] }.encode_to_vec(),
        );
        *bytes.last_mut().unwrap() = 0xff;
        assert!(matches!(accept(&bytes), Err(ApplyError::Envelope(_))));
        let garbage = pb::Envelope { payload: vec![0xff; 9], signatures: Vec::new() };
        assert!(matches!(accept(&garbage.encode_to_vec()), Err(ApplyError::RuleSet(_))));
    }

    #[test]
    fn signatures_are_counted_before_they_are_decoded() {
        let signatures = vec![pb::Signature::default(); 1000];
        let mut bytes = pb::Envelope { payload: Vec::new(), signatures }.encode_to_vec();
        // What cannot be decoded comes last: a decoder would have made all of them by then.
        bytes.push(0xff);
        let error = accept(&bytes).unwrap_err().to_string();
        assert!(error.contains("`signatures` has 1000"), "{error}");
    }

    #[test]
    fn what_is_not_built_yet_is_refused_by_name() {
        let error = accept(&envelope(&rules(Object::ExecName("apt".into()), Category::Process)));
        assert!(error.unwrap_err().to_string().contains("object.execname"));
        let mut revoking = rules(path("/a"), Category::File);
        revoking.options = Options { revoke: Revoke::OnChange, ..Options::default() };
        let error = accept(&envelope(&revoking)).unwrap_err();
        assert!(matches!(error, ApplyError::Option(Feature::Revoke)));
    }

    #[test]
    fn a_container_that_mounts_its_root_everywhere_keeps_neither_its_rules_nor_the_agent() {
        let mount = |point: String| Mount {
            dev: 1,
            root: Some("/".into()),
            point: RulePath::new(point).unwrap(),
            fs_type: "overlay".into(),
            atomic: false,
        };
        let first = vec![mount("/".into())];
        let made = (1..mountinfo::MAX_MOUNTS).map(|number| mount(format!("/m{number}")));
        let now: Vec<_> = first.iter().cloned().chain(made).collect();
        let rule = |id: u64| {
            let object = path(&format!("/srv/{id}"));
            Rule::new(RuleId(id), Category::File, Action::Block, object)
        };
        let rules =
            |number| rules(path("/"), Category::File).with_rules((1..number).map(rule).collect());
        let planned = |rules: &RuleSet| {
            let views = vec![first.clone(), now.clone()];
            let (plan, unread) = plan(rules, Mounts { views, unread: None }).unwrap();
            (plan.places.len(), unread)
        };
        let started = Instant::now();
        let (few, many) = (rules(100), rules(600));
        let (places, unread) = planned(&few);
        assert!(places > 100 && unread.is_none(), "{places}: {unread:?}");
        let (places, unread) = planned(&many);
        assert!(places > 600 && unread.unwrap().contains("names of places"), "{places}");
        // Each of them against all mounts twice, it takes the square of them.
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[test]
    fn a_set_expires_after_its_last_second() {
        let mut set = rules(path("/a"), Category::File);
        set.not_after = NonZeroU64::new(100);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(check_expiry(&set, at(100)).is_ok());
        assert!(matches!(check_expiry(&set, at(101)), Err(ApplyError::Expired { .. })));
    }
}
