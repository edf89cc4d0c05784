// SPDX-License-Identifier: Apache-2.0
//! The agent's types as messages. Total and pure.

use std::time::Duration;

use kadapter_proto::guest::v1 as pb;
use policy_model::limits::MAX_RESIDUE_BYTES;
use prost::Message as _;

use crate::{
    apply::Applied,
    maps::{Cause, KernelCounters, Residue, ResidueReason},
    posture::Posture,
    registry::{ContainerView, State, View},
};

pub(super) fn applied(applied: Applied, took: Duration) -> pb::Applied {
    pb::Applied {
        target: Some(applied.target.into()),
        generation: applied.generation.0,
        digest: applied.digest.0.to_vec(),
        took_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        bound: applied.bound,
        residues: residues(&applied.residues),
    }
}

pub(super) fn posture(posture: &Posture) -> pb::PostureState {
    match posture {
        Posture::Starting => pb::PostureState::Starting,
        Posture::TakingOver => pb::PostureState::TakingOver,
        Posture::Refusing(_) => pb::PostureState::Refusing,
        Posture::Enforcing => pb::PostureState::Enforcing,
        Posture::Degraded(_) => pb::PostureState::Degraded,
    }
}

/// What is in force by container, then what is held for none.
pub(super) fn targets(view: &View, kernel: &KernelCounters) -> Vec<pb::TargetStatus> {
    let ruled = view.containers.iter().filter(|it| it.in_force.is_some());
    let ruled: Vec<_> = ruled.filter(|it| it.state != State::Exited).collect();
    let is_bound =
        |target| ruled.iter().any(|it| crate::registry::same_container(&it.target, target));
    let held = view.held.iter().filter(|(target, _)| !is_bound(target));
    let held = held.map(|(target, in_force)| pb::TargetStatus {
        target: Some(target.clone().into()),
        container_id: String::new(),
        generation: in_force.generation.0,
        digest: in_force.digest.0.to_vec(),
        residues: Vec::new(),
        undecided: Vec::new(),
    });
    ruled.iter().map(|it| target_status(it, kernel)).chain(held).collect()
}

pub(super) fn counters(kernel: &KernelCounters, view: &View) -> pb::Counters {
    pb::Counters {
        events_dropped: kernel.events_dropped,
        fail_closed: kernel.fail_closed,
        guard_denied: kernel.guard_denied,
        gate_refused: view.refused,
        undecided: undecided(kernel, 0),
    }
}

pub(super) fn change(view: &ContainerView) -> pb::ContainerChange {
    let in_force = view.in_force.unwrap_or_default();
    pb::ContainerChange {
        container_id: view.id.to_string(),
        target: Some(view.target.clone().into()),
        state: state(view.state).into(),
        reason: view.reason.clone(),
        generation: in_force.generation.0,
        digest: view.in_force.map(|in_force| in_force.digest.0.to_vec()).unwrap_or_default(),
    }
}

/// Denials without a decision, of the container of this number.
fn undecided(kernel: &KernelCounters, container: u32) -> Vec<pb::Undecided> {
    let own = kernel.undecided.iter().filter(|denials| denials.container == container);
    own.map(|denials| pb::Undecided { cause: cause(denials.cause).into(), count: denials.count })
        .collect()
}

fn cause(cause: Cause) -> pb::Cause {
    match cause {
        Cause::Rules => pb::Cause::Rules,
        Cause::Place => pb::Cause::Place,
        Cause::Subject => pb::Cause::Subject,
        Cause::Mark => pb::Cause::Mark,
        Cause::Copy => pb::Cause::Copy,
        Cause::Arguments => pb::Cause::Arguments,
        Cause::Memory => pb::Cause::Memory,
        Cause::Signal => pb::Cause::Signal,
    }
}

fn target_status(view: &ContainerView, kernel: &KernelCounters) -> pb::TargetStatus {
    let in_force = view.in_force.unwrap_or_default();
    pb::TargetStatus {
        target: Some(view.target.clone().into()),
        container_id: view.id.to_string(),
        generation: in_force.generation.0,
        digest: in_force.digest.0.to_vec(),
        residues: residues(&view.residues),
        undecided: view.slot.map(|slot| undecided(kernel, slot.container)).unwrap_or_default(),
    }
}

fn state(state: State) -> pb::ContainerState {
    match state {
        State::Waiting => pb::ContainerState::Waiting,
        State::Registered => pb::ContainerState::Registered,
        State::Started => pb::ContainerState::Started,
        State::Exited => pb::ContainerState::Exited,
        State::Refused => pb::ContainerState::Refused,
    }
}

/// The first ones, as many as fit; the last of them tells how many do not.
fn residues(all: &[Residue]) -> Vec<pb::Residue> {
    let mut left = MAX_RESIDUE_BYTES;
    let fits = |residue: &pb::Residue| {
        let room = left.checked_sub(residue.encoded_len());
        left = room.unwrap_or_default();
        room.is_some()
    };
    let mut named: Vec<_> = all.iter().map(residue).take_while(fits).collect();
    let unnamed = all.len() - named.len();
    if let Some(last) = named.last_mut().filter(|_| unnamed > 0) {
        last.detail += &format!("; and {unnamed} more rules");
    }
    named
}

fn residue(residue: &Residue) -> pb::Residue {
    let reason = match residue.reason {
        ResidueReason::Absent => pb::ResidueReason::Absent,
        ResidueReason::ManyNames => pb::ResidueReason::ManyNames,
        ResidueReason::Symlink => pb::ResidueReason::Symlink,
        ResidueReason::Unreadable => pb::ResidueReason::Unreadable,
        ResidueReason::NotSearched => pb::ResidueReason::NotSearched,
        ResidueReason::Nowhere => pb::ResidueReason::Nowhere,
        ResidueReason::MountsUnread => pb::ResidueReason::MountsUnread,
    };
    pb::Residue { rule_id: residue.rule.0, reason: reason.into(), detail: residue.detail.clone() }
}

#[cfg(test)]
mod tests {
    use policy_model::{RuleId, limits::MAX_MESSAGE_BYTES};

    use super::*;

    fn absent(rule: u64, bytes: usize) -> Residue {
        Residue { rule: RuleId(rule), reason: ResidueReason::Absent, detail: "x".repeat(bytes) }
    }

    #[test]
    fn few_residues_are_all_named() {
        let all: Vec<_> = (0..20).map(|rule| absent(rule, 100)).collect();
        let named = residues(&all);
        assert_eq!(named.len(), 20);
        assert!(named.iter().all(|residue| residue.detail == "x".repeat(100)));
    }

    #[test]
    fn many_residues_are_counted_and_the_status_of_a_full_guest_fits_into_a_message() {
        let all: Vec<_> = (0..100_000).map(|rule| absent(rule, 100)).collect();
        let named = residues(&all);
        let unnamed = format!("; and {} more rules", all.len() - named.len());
        assert!(named.len() > 50 && named.last().unwrap().detail.ends_with(&unnamed));
        let held = pb::TargetStatus { residues: named, ..pb::TargetStatus::default() };
        assert!(256 * (held.encoded_len() + 2048) < MAX_MESSAGE_BYTES);
        assert_eq!(residues(&[absent(1, 4095)]).len(), 1, "the longest path");
    }
}
