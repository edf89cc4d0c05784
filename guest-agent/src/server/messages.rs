// SPDX-License-Identifier: Apache-2.0
//! The agent's types as messages. Total and pure.

use std::time::Duration;

use kadapter_proto::guest::v1 as pb;

use crate::{
    apply::Applied,
    maps::{KernelCounters, Residue, ResidueReason},
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
        residues: applied.residues.iter().map(residue).collect(),
    }
}

pub(super) fn posture(posture: &Posture) -> pb::PostureState {
    match posture {
        Posture::Starting => pb::PostureState::Starting,
        Posture::Refusing { .. } => pb::PostureState::Refusing,
        Posture::Enforcing => pb::PostureState::Enforcing,
    }
}

/// What is in force by container, then what is held for none.
pub(super) fn targets(view: &View) -> Vec<pb::TargetStatus> {
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
    });
    ruled.iter().map(|it| target_status(it)).chain(held).collect()
}

pub(super) fn counters(kernel: KernelCounters, view: &View) -> pb::Counters {
    pb::Counters {
        events_dropped: kernel.events_dropped,
        fail_closed: kernel.fail_closed,
        guard_denied: kernel.guard_denied,
        gate_refused: view.refused,
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

fn target_status(view: &ContainerView) -> pb::TargetStatus {
    let in_force = view.in_force.unwrap_or_default();
    pb::TargetStatus {
        target: Some(view.target.clone().into()),
        container_id: view.id.to_string(),
        generation: in_force.generation.0,
        digest: in_force.digest.0.to_vec(),
        residues: view.residues.iter().map(residue).collect(),
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

fn residue(residue: &Residue) -> pb::Residue {
    let reason = match residue.reason {
        ResidueReason::Absent => pb::ResidueReason::Absent,
        ResidueReason::ManyNames => pb::ResidueReason::ManyNames,
        ResidueReason::Symlink => pb::ResidueReason::Symlink,
        ResidueReason::Unreadable => pb::ResidueReason::Unreadable,
    };
    pb::Residue { rule_id: residue.rule.0, reason: reason.into(), detail: residue.detail.clone() }
}
