// SPDX-License-Identifier: Apache-2.0
//! The book of what each container of one guest has.

use std::{collections::BTreeMap, sync::Arc};

use kadapter_proto::guest::v1::Residue;
use policy_model::{Digest, Generation, Target, limits::MAX_RESIDUE_BYTES, wire};
use prost::Message as _;

use crate::pipeline::Plan;

/// Bytes of residues that are kept for a container: what a guest names and its count of the rest. For
/// as many containers as a guest may name this is some 10 MiB.
const MAX_KEPT_BYTES: usize = MAX_RESIDUE_BYTES + 1024;

/// A rule set ready to be sent.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The container.
    pub target: Target,
    /// Its number.
    pub generation: Generation,
    /// Digest of the payload.
    pub digest: Digest,
    /// The encoded rule set.
    pub payload: Vec<u8>,
    /// Where it comes from.
    pub plan: Arc<Plan>,
}

/// What each container has.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Target, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    in_force: Option<(Generation, Digest)>,
    /// Highest number that the guest has seen or may have seen.
    highest: Generation,
    under_way: bool,
    /// The plan that `in_force` was found equal to, to compare by pointer.
    settled: Option<Arc<Plan>>,
    /// The plan that the guest refused, and why.
    refused: Option<(Arc<Plan>, String)>,
    residues: Vec<Residue>,
}

// === impl Ledger ===

impl Ledger {
    /// Notes what the guest says is in force; nothing if the container waits for rules.
    pub fn note(&mut self, target: &Target, in_force: Option<(Generation, Digest)>) {
        let entry = self.entries.entry(target.clone()).or_default();
        match in_force {
            // An older report than the last acknowledgement.
            Some((generation, _)) if generation < entry.highest && entry.in_force.is_some() => {}
            Some((generation, digest)) => {
                if entry.in_force != Some((generation, digest)) {
                    entry.settled = None;
                }
                entry.in_force = Some((generation, digest));
                entry.highest = entry.highest.max(generation);
            }
            None => {
                entry.in_force = None;
                entry.settled = None;
                entry.residues.clear();
            }
        }
    }

    /// Notes what the guest could not put into force as asked.
    pub fn note_residues(&mut self, target: &Target, residues: Vec<Residue>) {
        self.entries.entry(target.clone()).or_default().residues = bounded(residues);
    }

    /// What has to be sent so that the container has this plan; nothing if it has it, if another
    /// parcel is under way or if the guest refused it.
    pub fn next(&mut self, target: &Target, plan: &Arc<Plan>) -> Option<Parcel> {
        let entry = self.entries.entry(target.clone()).or_default();
        let refused = entry.refused.as_ref().is_some_and(|(refused, _)| refused == plan);
        if entry.under_way || refused {
            return None;
        }
        if entry.settled.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, plan)) {
            return None;
        }
        entry.refused = None;
        if let Some((generation, digest)) = entry.in_force
            && Digest::of(&encoded(plan, generation)) == digest
        {
            entry.settled = Some(plan.clone());
            return None;
        }
        let generation = entry.highest.next();
        let payload = encoded(plan, generation);
        entry.highest = generation;
        entry.under_way = true;
        let (target, digest) = (target.clone(), Digest::of(&payload));
        Some(Parcel { target, generation, digest, payload, plan: plan.clone() })
    }

    /// Notes that the guest has a parcel in force.
    pub fn applied(&mut self, parcel: &Parcel, residues: Vec<Residue>) {
        let entry = self.entries.entry(parcel.target.clone()).or_default();
        entry.under_way = false;
        entry.in_force = Some((parcel.generation, parcel.digest));
        entry.settled = Some(parcel.plan.clone());
        entry.residues = bounded(residues);
    }

    /// Notes that the guest refuses a parcel.
    pub fn refused(&mut self, parcel: &Parcel, reason: String) {
        let entry = self.entries.entry(parcel.target.clone()).or_default();
        entry.under_way = false;
        entry.refused = Some((parcel.plan.clone(), reason));
    }

    /// What is in force, what is left over, and why the newest plan is refused, if it is.
    #[must_use]
    pub fn standing(
        &self,
        target: &Target,
    ) -> (Option<(Generation, Digest)>, &[Residue], Option<&str>) {
        let Some(entry) = self.entries.get(target) else { return (None, &[], None) };
        let reason = entry.refused.as_ref().map(|(_, reason)| reason.as_str());
        (entry.in_force, &entry.residues, reason)
    }

    /// Containers that the guest holds a rule set for, whether they exist or not: one that is made
    /// anew starts under it, so it has to stay current.
    pub fn held(&self) -> impl Iterator<Item = &Target> {
        let held = self.entries.iter().filter(|(_, entry)| entry.in_force.is_some());
        held.map(|(target, _)| target)
    }

    /// Number of containers that are followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.entries.len()
    }
}

/// The first ones, as many as a guest names of a container.
fn bounded(mut residues: Vec<Residue>) -> Vec<Residue> {
    let mut left = MAX_KEPT_BYTES;
    let fits = |residue: &&Residue| {
        let room = left.checked_sub(residue.encoded_len());
        left = room.unwrap_or_default();
        room.is_some()
    };
    let kept = residues.iter().take_while(fits).count();
    residues.truncate(kept);
    residues
}

fn encoded(plan: &Plan, generation: Generation) -> Vec<u8> {
    let mut rules = plan.compiled.rules.clone();
    rules.generation = generation;
    wire::encode(&rules)
}

#[cfg(test)]
mod tests {
    use kubesmith::compile::compile;
    use policy_model::{Posture, Postures};

    use super::*;

    fn target() -> Target {
        Target { pod: "p".into(), ..Target::default() }
    }

    fn plan(posture: Posture) -> Arc<Plan> {
        let postures = Postures { file: posture, ..Postures::default() };
        let compiled = compile(target(), postures, &[]).unwrap();
        let (policies, findings, image) = Default::default();
        Arc::new(Plan { compiled, policies, findings, image })
    }

    fn sent(ledger: &mut Ledger, plan: &Arc<Plan>) -> Parcel {
        let parcel = ledger.next(&target(), plan).unwrap();
        ledger.applied(&parcel, Vec::new());
        parcel
    }

    #[test]
    fn generations_grow_and_equal_plans_are_not_sent_again() {
        let mut ledger = Ledger::default();
        assert_eq!(sent(&mut ledger, &plan(Posture::Audit)).generation, Generation(1));
        assert!(ledger.next(&target(), &plan(Posture::Audit)).is_none());
        assert_eq!(sent(&mut ledger, &plan(Posture::Block)).generation, Generation(2));
    }

    #[test]
    fn what_the_guest_has_already_is_not_sent() {
        let digest = sent(&mut Ledger::default(), &plan(Posture::Audit)).digest;
        let mut ledger = Ledger::default();
        ledger.note(&target(), Some((Generation(1), digest)));
        assert!(ledger.next(&target(), &plan(Posture::Audit)).is_none());
        assert_eq!(sent(&mut ledger, &plan(Posture::Block)).generation, Generation(2));
    }

    #[test]
    fn one_parcel_is_under_way_and_the_newest_plan_follows() {
        let mut ledger = Ledger::default();
        let first = ledger.next(&target(), &plan(Posture::Audit)).unwrap();
        assert!(ledger.next(&target(), &plan(Posture::Block)).is_none());
        ledger.applied(&first, Vec::new());
        assert_eq!(sent(&mut ledger, &plan(Posture::Block)).generation, Generation(2));
    }

    #[test]
    fn a_refused_plan_is_not_sent_again_and_the_old_one_stands() {
        let mut ledger = Ledger::default();
        let first = sent(&mut ledger, &plan(Posture::Audit));
        let second = ledger.next(&target(), &plan(Posture::Block)).unwrap();
        ledger.refused(&second, "no".into());
        assert!(ledger.next(&target(), &plan(Posture::Block)).is_none());
        let (in_force, _, reason) = ledger.standing(&target());
        assert_eq!(in_force, Some((first.generation, first.digest)));
        assert_eq!(reason, Some("no"));
        assert!(ledger.next(&target(), &plan(Posture::Audit)).is_none());
        assert_eq!(ledger.standing(&target()).2, None);
    }

    #[test]
    fn a_container_that_waits_again_gets_its_rules_again() {
        let mut ledger = Ledger::default();
        sent(&mut ledger, &plan(Posture::Audit));
        ledger.note(&target(), None);
        assert_eq!(sent(&mut ledger, &plan(Posture::Audit)).generation, Generation(2));
    }

    #[test]
    fn of_residues_without_end_some_are_kept() {
        let residue = |rule_id| Residue { rule_id, reason: 1, detail: "x".repeat(100) };
        let mut ledger = Ledger::default();
        ledger.note_residues(&target(), (0..3).map(residue).collect());
        assert_eq!(ledger.standing(&target()).1.len(), 3);
        ledger.note_residues(&target(), (0..100_000).map(residue).collect());
        let kept = ledger.standing(&target()).1;
        assert!(kept.len() > 50 && kept.len() < 1000, "{}", kept.len());
        assert_eq!(kept[0].rule_id, 0);
    }

    #[test]
    fn a_report_older_than_the_acknowledgement_changes_nothing() {
        let mut ledger = Ledger::default();
        let first = sent(&mut ledger, &plan(Posture::Audit));
        sent(&mut ledger, &plan(Posture::Block));
        ledger.note(&target(), Some((first.generation, first.digest)));
        assert!(ledger.next(&target(), &plan(Posture::Block)).is_none());
    }
}
