// SPDX-License-Identifier: Apache-2.0
//! Which rule set a container has, through arrivals, changes and ends.

use std::num::NonZeroU64;

use policy_model::{Generation, RuleSet, Target};

use super::*;
use crate::{
    fixtures::{Waiting, accepted, arrival, id, rules, rules_of, target},
    posture::Loss,
    registry::{RemoveError, double::KernelDouble},
};

pub(super) fn owner() -> (Owner<KernelDouble>, KernelDouble) {
    let kernel = KernelDouble::default();
    (Owner::new(kernel.clone(), watch::Sender::default()), kernel)
}

pub(super) fn announce(
    owner: &mut Owner<KernelDouble>,
    arrival: Arrival,
) -> oneshot::Receiver<Verdict> {
    let (waiter, verdict) = oneshot::channel();
    owner.obey(Command::Announce(Box::new(arrival), waiter));
    verdict
}

fn state(owner: &Owner<KernelDouble>) -> State {
    owner.view().containers[0].state
}

#[test]
fn a_container_waits_until_its_rule_set_arrives() {
    let (mut owner, kernel) = owner();
    let process = Waiting::spawn();
    let mut verdict = announce(&mut owner, arrival("c1", &process));
    assert_eq!(state(&owner), State::Waiting);
    assert!(verdict.try_recv().is_err());
    let applied = owner.apply(accepted(rules(1))).unwrap();
    assert!(applied.bound);
    let permit = verdict.try_recv().unwrap().unwrap();
    assert_eq!(permit.in_force.generation, Generation(1));
    kernel.with(|state| {
        assert_eq!(state.installed, [(state.slots[0], 1)]);
        assert_eq!(state.labels, [(process.pid(), state.slots[0])]);
    });
}

#[test]
fn a_rule_set_may_arrive_before_its_container() {
    let (mut owner, _) = owner();
    assert!(!owner.apply(accepted(rules(1))).unwrap().bound);
    let process = Waiting::spawn();
    let mut verdict = announce(&mut owner, arrival("c1", &process));
    assert!(verdict.try_recv().unwrap().is_ok());
    assert_eq!(state(&owner), State::Registered);
}

#[test]
fn a_uid_tells_pods_of_one_name_apart_if_both_sides_know_it() {
    let (mut owner, _) = owner();
    let other = Target { pod_uid: "u-2".into(), ..target() };
    owner.apply(accepted(rules_of(other, 1))).unwrap();
    let process = Waiting::spawn();
    let mut verdict = announce(&mut owner, arrival("c1", &process));
    assert!(verdict.try_recv().is_err());
    let any = Target { pod_uid: String::new(), ..target() };
    owner.apply(accepted(rules_of(any, 2))).unwrap();
    assert!(verdict.try_recv().unwrap().is_ok());
}

#[test]
fn a_sandbox_is_let_through_without_rules() {
    let (mut owner, kernel) = owner();
    let process = Waiting::spawn();
    let role = Role::Sandbox(Target { container_name: String::new(), ..target() });
    let mut verdict = announce(&mut owner, Arrival { role, ..arrival("pause", &process) });
    assert_eq!(verdict.try_recv().unwrap().unwrap().in_force.generation, Generation(0));
    kernel.with(|state| assert_eq!(state.installed.len(), 1));
}

#[test]
fn generations_only_grow() {
    let (mut owner, _) = owner();
    owner.apply(accepted(rules(5))).unwrap();
    assert!(owner.apply(accepted(rules(5))).is_ok(), "the same set again is no error");
    let error = owner.apply(accepted(rules(4))).unwrap_err();
    assert!(matches!(error, ApplyError::Stale(_)));
    let other = RuleSet::empty(target(), Generation(5));
    let text = owner.apply(accepted(other)).unwrap_err().to_string();
    let in_force = accepted(rules(5)).digest.to_string();
    assert!(text.contains("generation 5") && text.contains(&in_force), "{text}");
    assert!(owner.apply(accepted(rules(6))).is_ok());
}

#[test]
fn a_running_container_gets_the_next_set_and_keeps_the_last_if_that_fails() {
    let (mut owner, kernel) = owner();
    owner.apply(accepted(rules(1))).unwrap();
    let process = Waiting::spawn();
    drop(announce(&mut owner, arrival("c1", &process)));
    let mut verdict = announce(&mut owner, arrival("c2", &process));
    assert!(verdict.try_recv().unwrap().is_ok());
    kernel.with(|state| state.refuse_stage = true);
    assert!(matches!(owner.apply(accepted(rules(2))), Err(ApplyError::Install(_))));
    assert_eq!(owner.view().containers[0].in_force.unwrap().generation, Generation(1));
    assert_eq!(owner.view().held[0].1.generation, Generation(1));
    kernel.with(|state| state.refuse_stage = false);
    assert!(owner.apply(accepted(rules(2))).unwrap().bound);
    assert_eq!(owner.view().containers[0].in_force.unwrap().generation, Generation(2));
}

#[test]
fn a_container_that_nobody_waits_for_is_not_kept() {
    let (mut owner, kernel) = owner();
    owner.apply(accepted(rules(1))).unwrap();
    let process = Waiting::spawn();
    let (waiter, verdict) = oneshot::channel();
    drop(verdict);
    owner.obey(Command::Announce(Box::new(arrival("c1", &process)), waiter));
    assert!(owner.view().containers.is_empty());
    kernel.with(|state| assert!(state.slots.is_empty()));
}

#[test]
fn an_expired_set_is_neither_applied_nor_used() {
    let (mut owner, _) = owner();
    let mut expired = rules(1);
    expired.not_after = NonZeroU64::new(1);
    assert!(matches!(owner.apply(accepted(expired)), Err(ApplyError::Expired { .. })));
    assert!(owner.view().held.is_empty());
}

#[test]
fn a_failing_registration_frees_its_slot_and_is_the_reason_of_the_refusal() {
    let (mut owner, kernel) = owner();
    kernel.with(|state| state.refuse_label = true);
    let process = Waiting::spawn();
    let mut verdict = announce(&mut owner, arrival("c1", &process));
    assert!(matches!(owner.apply(accepted(rules(1))), Err(ApplyError::Maps(_))));
    kernel.with(|state| assert!(state.slots.is_empty()));
    assert!(owner.view().held.is_empty(), "a set that nobody took is not held");
    owner.obey(Command::GiveUp { id: id("c1"), fail_open: false });
    assert!(verdict.try_recv().unwrap().unwrap_err().contains("not registered"));
    assert_eq!((state(&owner), owner.view().refused), (State::Refused, 1));
}

#[test]
fn a_namespace_that_may_starts_without_rules_and_takes_them_later() {
    let (mut owner, _) = owner();
    let process = Waiting::spawn();
    let mut verdict = announce(&mut owner, arrival("c1", &process));
    owner.obey(Command::GiveUp { id: id("c1"), fail_open: true });
    assert_eq!(verdict.try_recv().unwrap().unwrap().in_force.generation, Generation(0));
    assert_eq!((owner.view().failed_open, owner.view().refused), (1, 0));
    assert!(owner.apply(accepted(rules(1))).unwrap().bound);
}

#[test]
fn a_hook_that_asks_twice_gets_the_same_answer() {
    let (mut owner, kernel) = owner();
    owner.apply(accepted(rules(1))).unwrap();
    let (process, other) = (Waiting::spawn(), Waiting::spawn());
    let mut first = announce(&mut owner, arrival("c1", &process));
    let mut again = announce(&mut owner, arrival("c1", &process));
    assert_eq!(first.try_recv().unwrap(), again.try_recv().unwrap());
    let mut stranger = announce(&mut owner, arrival("c1", &other));
    assert!(stranger.try_recv().unwrap().is_err());
    kernel.with(|state| assert_eq!(state.slots.len(), 1));
}

#[test]
fn only_registered_containers_start_and_are_joined() {
    let (mut owner, kernel) = owner();
    assert!(owner.started(&id("c1")).unwrap_err().contains("never registered"));
    let (process, joining) = (Waiting::spawn(), Waiting::spawn());
    let _verdict = announce(&mut owner, arrival("c1", &process));
    assert!(owner.started(&id("c1")).unwrap_err().contains("waiting"));
    owner.apply(accepted(rules(1))).unwrap();
    owner.started(&id("c1")).unwrap();
    owner.join(&id("c1"), &joining.init()).unwrap();
    kernel.with(|state| assert_eq!(state.labels[1], (joining.pid(), state.slots[0])));
    assert_eq!(state(&owner), State::Started);
}

#[test]
fn a_slot_is_kept_until_the_last_process_is_gone() {
    let (mut owner, kernel) = owner();
    owner.apply(accepted(rules(1))).unwrap();
    let process = Waiting::spawn();
    let mut verdict = announce(&mut owner, arrival("c1", &process));
    let number = verdict.try_recv().unwrap().unwrap().number;
    owner.obey(Command::Exited { id: id("c1"), number: Some(number + 1) });
    assert_eq!(state(&owner), State::Registered, "the end of another registration");
    owner.obey(Command::Exited { id: id("c1"), number: Some(number) });
    assert_eq!(state(&owner), State::Exited);
    kernel.with(|state| assert_eq!(state.slots.len(), 1));
    owner.obey(Command::Emptied { id: id("c1"), number });
    kernel.with(|state| assert!(state.slots.is_empty()));
    let named = owner.view().by_number(number).map(|it| it.id.clone());
    assert_eq!(named, Some(id("c1")), "late events still name it");
    owner.obey(Command::Removed(id("c1")));
    assert!(owner.view().containers.is_empty());
}

#[test]
fn a_container_whose_process_died_does_not_stand_in_the_way_of_a_set() {
    let (mut owner, _) = owner();
    owner.apply(accepted(rules(1))).unwrap();
    let mut process = Waiting::spawn();
    drop(announce(&mut owner, arrival("c0", &process)));
    let _verdict = announce(&mut owner, arrival("c1", &process));
    process.end();
    assert!(!owner.apply(accepted(rules(2))).unwrap().bound);
    assert_eq!(state(&owner), State::Exited);
}

#[test]
fn a_removed_rule_set_leaves_its_containers_without_rules() {
    let (mut owner, _) = owner();
    assert!(matches!(owner.remove(&target()), Err(RemoveError::Unknown(_))));
    owner.apply(accepted(rules(3))).unwrap();
    let process = Waiting::spawn();
    let _verdict = announce(&mut owner, arrival("c1", &process));
    owner.remove(&target()).unwrap();
    assert_eq!(owner.view().containers[0].in_force.unwrap().generation, Generation(0));
    assert!(owner.view().held.is_empty());
    assert!(owner.apply(accepted(rules(1))).is_ok(), "a removed name begins anew");
}

#[test]
fn containers_that_are_over_make_room_and_the_rest_do_not() {
    let (mut owner, _) = owner();
    let process = Waiting::spawn();
    let mut verdicts = Vec::new();
    for number in 0..MAX_CONTAINERS {
        verdicts.push(announce(&mut owner, arrival(&format!("c{number}"), &process)));
    }
    let mut late = announce(&mut owner, arrival("late", &process));
    assert!(late.try_recv().unwrap().unwrap_err().contains("known already"));
    owner.obey(Command::GiveUp { id: id("c5"), fail_open: false });
    let mut later = announce(&mut owner, arrival("later", &process));
    assert!(later.try_recv().is_err(), "it waits");
    assert_eq!(owner.view().containers.len(), MAX_CONTAINERS);
}

/// What the next agent makes of the same kernel.
fn next_owner(kernel: &KernelDouble) -> Owner<KernelDouble> {
    let mut next = Owner::new(kernel.clone(), watch::Sender::default());
    next.recover();
    next
}

#[test]
fn the_next_agent_takes_over_what_runs() {
    let (mut owner, kernel) = owner();
    let process = Waiting::spawn();
    let _verdict = announce(&mut owner, arrival("c1", &process));
    owner.apply(accepted(rules(3))).unwrap();
    let before = owner.view().containers;
    drop(owner);
    let mut next = Owner::new(kernel.clone(), watch::Sender::default());
    assert_eq!(next.recover(), None);
    let after = next.view().containers;
    assert_eq!((&after[0].id, &after[0].target), (&before[0].id, &before[0].target));
    assert_eq!((after[0].slot, after[0].in_force), (before[0].slot, before[0].in_force));
    assert_eq!(next.recovered().len(), 1);
    assert!(next.apply(accepted(rules(4))).unwrap().bound);
}

#[test]
fn a_set_that_was_switched_to_but_not_noted_is_no_set_that_a_relay_knows() {
    let (mut owner, kernel) = owner();
    let process = Waiting::spawn();
    let _verdict = announce(&mut owner, arrival("c1", &process));
    owner.apply(accepted(rules(3))).unwrap();
    kernel.with(|state| state.notes[0].generation = 4);
    let in_force = next_owner(&kernel).view().containers[0].in_force.unwrap();
    assert_eq!(in_force.generation, Generation(4));
    assert_eq!(in_force.digest, policy_model::Digest::default());
}

#[test]
fn the_next_agent_gives_up_what_ended_and_what_never_began() {
    let (mut owner, kernel) = owner();
    let mut process = Waiting::spawn();
    let _verdict = announce(&mut owner, arrival("c1", &process));
    owner.apply(accepted(rules(3))).unwrap();
    kernel.clone().allocate().unwrap();
    process.end();
    // The cgroup of the test itself, which never empties, must not keep the slot.
    kernel.with(|state| {
        let mut note: serde_json::Value = serde_json::from_slice(&state.notes[0].text).unwrap();
        note["cgroup"] = serde_json::Value::Null;
        state.notes[0].text = serde_json::to_vec(&note).unwrap();
    });
    assert!(next_owner(&kernel).view().containers.is_empty());
    kernel.with(|state| assert!(state.slots.is_empty()));
}

#[test]
fn a_note_of_another_process_is_not_believed() {
    let (mut owner, kernel) = owner();
    let process = Waiting::spawn();
    let _verdict = announce(&mut owner, arrival("c1", &process));
    owner.apply(accepted(rules(3))).unwrap();
    kernel.with(|state| {
        let mut note: serde_json::Value = serde_json::from_slice(&state.notes[0].text).unwrap();
        note["started"] = 1.into();
        state.notes[0].text = serde_json::to_vec(&note).unwrap();
    });
    let mut next = Owner::new(kernel, watch::Sender::default());
    let left = next.recover();
    assert_eq!(left, Some(Loss::ContainersLeft(Some(1))), "somebody may run under it");
    assert!(next.view().containers.is_empty());
}

#[test]
fn a_container_whose_processes_are_in_a_cgroup_below_its_own_keeps_its_slot() {
    let (mut owner, kernel) = owner();
    let mut process = Waiting::spawn();
    let _verdict = announce(&mut owner, arrival("c1", &process));
    owner.apply(accepted(rules(3))).unwrap();
    process.end();
    let directory = tempfile::tempdir().unwrap();
    let write = |name, text| std::fs::write(directory.path().join(name), text).unwrap();
    write("cgroup.procs", "");
    write("cgroup.events", "populated 1\nfrozen 0\n");
    kernel.with(|state| {
        let mut note: serde_json::Value = serde_json::from_slice(&state.notes[0].text).unwrap();
        let cgroup = serde_json::json!({"id": 1, "directory": directory.path()});
        note["cgroup"] = cgroup;
        state.notes[0].text = serde_json::to_vec(&note).unwrap();
    });
    let mut next = Owner::new(kernel.clone(), watch::Sender::default());
    assert_eq!(next.recover(), Some(Loss::ContainersLeft(Some(1))));
    kernel.with(|state| assert_eq!(state.slots.len(), 1));
    write("cgroup.events", "populated 0\nfrozen 0\n");
    assert_eq!(next_owner(&kernel).view().containers.len(), 0);
    kernel.with(|state| assert!(state.slots.is_empty()));
}
