// SPDX-License-Identifier: Apache-2.0
//! Views to messages.

use kadapter_proto::{guest::v1 as guest, relay::v1 as pb};
use kubesmith::{EffectiveOption, Provenance};
use policy_model::RuleId;

use crate::{
    events::Report,
    status::{ContainerView, PolicyView, SandboxView},
};

pub(super) fn sandbox(view: &SandboxView) -> pb::Sandbox {
    let state =
        if view.connected { pb::SessionState::Connected } else { pb::SessionState::Connecting };
    pb::Sandbox {
        address: view.address.to_string(),
        state: state.into(),
        error: view.error.clone(),
        guest_version: view.guest_version.clone(),
        boot_id: view.boot_id.clone(),
        containers: view.containers.iter().map(container).collect(),
        posture: view.posture.state.into(),
        posture_reason: view.posture.reason.clone(),
    }
}

fn container(view: &ContainerView) -> pb::Container {
    let (generation, digest) = match view.in_force {
        Some((generation, digest)) => (generation.0, digest.to_string()),
        None => (0, String::new()),
    };
    pb::Container {
        id: view.id.clone(),
        target: Some(view.target.clone().into()),
        state: guest::ContainerState::from(view.state).into(),
        generation,
        digest,
        policies: view.policies.iter().map(ToString::to_string).collect(),
        residues: view.residues.clone(),
        error: view.error.clone(),
    }
}

pub(super) fn policy(view: &PolicyView) -> pb::Policy {
    pb::Policy {
        namespace: view.policy.namespace.clone(),
        name: view.policy.name.clone(),
        uid: view.policy.uid.clone(),
        origin: view.origin.clone(),
        selects: view.selects.iter().map(ToString::to_string).collect(),
        error: view.error.clone(),
    }
}

pub(super) fn provenance((rule, provenance): (&RuleId, &Provenance)) -> pb::Provenance {
    pb::Provenance {
        rule_id: rule.0,
        policy: provenance.policy.to_string(),
        policy_uid: provenance.policy.uid.clone(),
        field: provenance.field.clone(),
        layer: provenance.layer.as_str().into(),
        severity: provenance.severity,
        tags: provenance.tags.clone(),
        message: provenance.message.clone(),
    }
}

pub(super) fn option(option: &EffectiveOption) -> pb::OptionProvenance {
    pb::OptionProvenance {
        feature: option.switch.feature().to_string(),
        level: option.level.to_string(),
        finding: option.finding.id().into(),
        provenance: Some(provenance((&RuleId::default(), &option.provenance))),
    }
}

/// A report, with the number of reports that its watcher lost before it.
pub(super) fn event(report: &Report, lost: u64) -> pb::PolicyEvent {
    let mut event = guest::Event::from(report.event.clone());
    event.dropped_before = event.dropped_before.saturating_add(lost);
    let known = report.rules.iter().map(|(rule, known)| match known {
        Some(known) => provenance((rule, known)),
        None => pb::Provenance { rule_id: rule.0, ..pb::Provenance::default() },
    });
    pb::PolicyEvent {
        sandbox: report.sandbox.to_string(),
        rules: known.collect(),
        options: report.options.iter().map(option).collect(),
        event: Some(event),
    }
}
