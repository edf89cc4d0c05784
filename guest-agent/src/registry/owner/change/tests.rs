// SPDX-License-Identifier: Apache-2.0
//! One set and several containers of its name: all of them, or none, or the truth.

use policy_model::{
    Action, Category, Generation, Match, Object, PathObject, Rule, RuleId, RulePath, RuleSet,
};
use tokio::sync::oneshot;

use super::*;
use crate::{
    fixtures::{Waiting, accepted, arrival, id, rules, target},
    reason,
    registry::{
        ContainerView, RemoveError, Verdict,
        double::KernelDouble,
        owner::tests::{announce, owner},
    },
};

/// Two containers of one name under generation 1, and one of them at the gate.
fn two_and_one() -> (Owner<KernelDouble>, KernelDouble, Waiting, oneshot::Receiver<Verdict>) {
    let (mut owner, kernel) = owner();
    let process = Waiting::spawn();
    owner.apply(accepted(rules(1))).unwrap();
    for id in ["c1", "c2"] {
        let mut verdict = announce(&mut owner, arrival(id, &process));
        assert!(verdict.try_recv().unwrap().is_ok());
    }
    // As one whose set had to be searched for and was not yet.
    let sets = std::mem::take(&mut owner.sets);
    let verdict = announce(&mut owner, arrival("c3", &process));
    owner.sets = sets;
    assert_eq!(owner.view().containers[2].state, State::Waiting);
    (owner, kernel, process, verdict)
}

/// Generation that each container is under, by the view and by the kernel.
fn generations(owner: &Owner<KernelDouble>, kernel: &KernelDouble) -> Vec<(u64, u64)> {
    let in_kernel = |slot| {
        let last = kernel.with(|state| state.installed.iter().rfind(|it| it.0 == slot).copied());
        last.map_or(0, |(_, generation)| generation)
    };
    let ruled = |it: &ContainerView| Some((it.in_force?.generation.0, in_kernel(it.slot?)));
    owner.view().containers.iter().filter_map(ruled).collect()
}

#[test]
fn a_set_comes_to_all_containers_of_a_name() {
    let (mut owner, kernel, _process, mut verdict) = two_and_one();
    assert!(owner.apply(accepted(rules(2))).unwrap().bound);
    assert_eq!(generations(&owner, &kernel), [(2, 2); 3]);
    assert_eq!(verdict.try_recv().unwrap().unwrap().in_force.generation, Generation(2));
    owner.remove(&target()).unwrap();
    assert_eq!(generations(&owner, &kernel), [(0, 0); 3]);
}

#[test]
fn a_set_that_one_container_does_not_take_comes_to_none() {
    let (mut owner, kernel, _process, mut verdict) = two_and_one();
    let second = kernel.with(|state| state.slots[1]);
    kernel.with(|state| state.refuse_stage_of = Some(second));
    assert!(matches!(owner.apply(accepted(rules(2))), Err(ApplyError::Install(_))));
    assert!(matches!(owner.remove(&target()), Err(RemoveError::Apply(_))));
    assert_eq!(generations(&owner, &kernel), [(1, 1); 2]);
    assert!(verdict.try_recv().is_err(), "it waits");
    kernel.with(|state| {
        assert!(state.staged.is_empty(), "{:?}", state.staged);
        state.refuse_stage_of = None;
        state.refuse_label = true;
    });
    assert!(matches!(owner.apply(accepted(rules(3))), Err(ApplyError::Maps(_))));
    assert_eq!(generations(&owner, &kernel), [(1, 1); 2], "for the one at the gate");
    kernel.with(|state| {
        assert!(state.staged.is_empty() && state.slots.len() == 2, "{state:?}");
        state.refuse_label = false;
    });
    owner.apply(accepted(rules(3))).unwrap();
    assert_eq!(generations(&owner, &kernel), [(3, 3); 3]);
}

#[test]
fn a_switch_that_fails_is_taken_back_everywhere_or_told_where_it_is_not() {
    let (mut owner, kernel, _process, mut verdict) = two_and_one();
    let second = kernel.with(|state| state.slots[1]);
    kernel.with(|state| state.refuse_switch_of = Some((second, false)));
    let error = owner.apply(accepted(rules(2))).unwrap_err().to_string();
    assert!(error.contains("slot 99") && !error.contains("already"), "{error}");
    assert_eq!(generations(&owner, &kernel), [(1, 1); 2]);
    kernel.with(|state| {
        assert!(state.staged.is_empty() && state.slots.len() == 2, "{state:?}");
        state.refuse_switch_of = Some((second, true));
    });
    let error = owner.apply(accepted(rules(3))).unwrap_err().to_string();
    assert!(
        error.contains("slot 99") && error.contains("1 containers are under the new"),
        "{error}"
    );
    assert_eq!(generations(&owner, &kernel), [(3, 3), (1, 1)], "the view tells what is true");
    assert_eq!(owner.view().held[0].1.generation, Generation(1));
    assert!(verdict.try_recv().is_err(), "it waits");
}

#[test]
fn what_fails_after_the_switch_leaves_the_new_set_in_force_with_a_residue() {
    let (mut owner, kernel, _process, _verdict) = two_and_one();
    kernel.with(|state| state.refuse_settle = true);
    let path = RulePath::new("/usr/bin/apt").unwrap();
    let object = Object::Path(PathObject { path, matching: Match::Identity });
    let rule = Rule::new(RuleId(7), Category::Process, Action::Block, object);
    let set = accepted(RuleSet::empty(target(), Generation(2)).with_rules(vec![rule]));
    let named = Named { running: vec![id("c1"), id("c2")], waiting: Vec::new() };
    owner.change(&named, &set, &Surveys::default()).unwrap();
    assert_eq!(generations(&owner, &kernel), [(2, 2); 2]);
    let residue = &owner.view().containers[0].residues[0];
    assert_eq!(residue.rule, RuleId(7));
    assert!(residue.detail.contains("slots are taken"), "{}", residue.detail);
}

#[test]
fn the_first_error_is_told_with_the_one_that_followed() {
    let (mut owner, kernel, _process, _verdict) = two_and_one();
    kernel.with(|state| {
        state.refuse_stage_of = Some(state.slots[1]);
        state.refuse_unstage = true;
    });
    let error = owner.apply(accepted(rules(2))).unwrap_err();
    let told = reason::of(&error);
    let (first, second) = (told.find("path hashes collided"), told.find("slots are taken"));
    assert!(first.is_some() && first < second, "{told}");
}
