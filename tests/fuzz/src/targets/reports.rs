// SPDX-License-Identifier: Apache-2.0
//! What a guest says to the relay: any message of it, true or not.

use std::sync::LazyLock;

use host_relay::{
    events::{Report, line},
    push::Ledger,
    sandbox::{Address, Containers, MAX_TARGETS, in_force, target},
};
use kadapter_proto::{guest::v1 as pb, policy::v1 as policy};
use policy_model::Event;
use prost::Message;

use super::{events, slices, wire::WORDS};
use crate::{entropy::Entropy, grammar::Grammar};

static EVENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    events().into_iter().map(|event| pb::Event::from(event).encode_to_vec()).collect()
});

static CHANGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let change = |state: i32| pb::ContainerChange {
        container_id: format!("c{state}"),
        target: Some(named("shop-0")),
        state,
        reason: "because".into(),
        generation: 7,
        digest: vec![7; if state % 2 == 0 { 32 } else { 0 }],
    };
    (0..7).map(|state| change(state).encode_to_vec()).collect()
});

static STATUSES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let residue = pb::Residue { rule_id: 7, reason: 1, detail: "/a".into() };
    let held = |pod| pb::TargetStatus {
        target: Some(named(pod)),
        container_id: "c1".into(),
        generation: 7,
        digest: vec![7; 32],
        residues: vec![residue.clone()],
        undecided: vec![pb::Undecided { cause: 2, count: 1 }],
    };
    let status = pb::StatusReply {
        posture: 3,
        features: vec!["object.path".into()],
        targets: vec![held("shop-0"), held("shop-1")],
        counters: Some(pb::Counters::default()),
        boot_id: "b".into(),
        ..pb::StatusReply::default()
    };
    vec![status.encode_to_vec(), pb::StatusReply::default().encode_to_vec()]
});

fn named(pod: &str) -> policy::Target {
    policy::Target {
        namespace: "prod".into(),
        pod: pod.into(),
        pod_uid: "u-1".into(),
        container_name: "web".into(),
    }
}

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    match entropy.below(3) {
        0 => check_event(&mut entropy),
        1 => check_changes(&mut entropy),
        _ => check_status(&mut entropy),
    }
}

fn check_event(entropy: &mut Entropy<'_>) {
    let Some(message) = message::<pb::Event>(&EVENTS, entropy) else { return };
    let Ok(event) = Event::try_from(message) else { return };
    assert_eq!(Event::try_from(pb::Event::from(event.clone())).as_ref(), Ok(&event));
    let rules = event.rules.iter().map(|rule| (*rule, None)).collect();
    let sandbox = Address::Vsock { cid: 3, port: 1034 };
    let text = line(&Report { sandbox: sandbox.to_string(), event, rules, options: Vec::new() });
    assert!(!text.contains(char::is_control), "one line, whatever the guest says: {text}");
    serde_json::from_str::<serde_json::Value>(&text).expect("the line is JSON");
}

fn check_changes(entropy: &mut Entropy<'_>) {
    let mut containers = Containers::default();
    for _ in 0..=entropy.below(8) {
        let Some(change) = message::<pb::ContainerChange>(&CHANGES, entropy) else { return };
        if let Ok(Some(container)) = containers.update(change) {
            assert!(!container.target.to_string().contains(char::is_control));
        }
    }
    assert!(containers.iter().count() <= MAX_TARGETS);
}

fn check_status(entropy: &mut Entropy<'_>) {
    let Some(status) = message::<pb::StatusReply>(&STATUSES, entropy) else { return };
    let mut ledger = Ledger::default();
    for held in status.targets {
        let Ok(target) = target(held.target) else { return };
        let Ok(in_force) = in_force(held.generation, &held.digest) else { return };
        ledger.note(&target, in_force);
        ledger.note_residues(&target, held.residues);
        assert!(in_force.is_none() || ledger.standing(&target).0.is_some());
    }
}

fn message<M: Message + Default>(valid: &[Vec<u8>], entropy: &mut Entropy<'_>) -> Option<M> {
    let bytes = Grammar { valid: &slices(valid), words: WORDS }.write(entropy);
    M::decode(&bytes[..]).ok()
}
