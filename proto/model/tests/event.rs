// SPDX-License-Identifier: Apache-2.0
//! Laws of events: a message stands for one event, and says so or is refused.

use kadapter_proto::guest::v1 as pb;
use policy_model::{
    Event, InvalidEvent, Target, arbitrary::any_event, limits::MAX_TARGET_BYTES,
    wire::InvalidRuleSet,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_message_stands_for_its_event(event in any_event()) {
        prop_assert_eq!(Event::try_from(pb::Event::from(event.clone())), Ok(event));
    }

    #[test]
    fn an_event_stands_for_its_message(event in any_event()) {
        let message = pb::Event::from(event);
        let back = Event::try_from(message.clone()).map(pb::Event::from);
        prop_assert_eq!(back, Ok(message));
    }

    #[test]
    fn numbers_without_meaning_are_refused(event in any_event(), number in any::<i32>()) {
        let number = if (1..=6).contains(&number) { 0 } else { number };
        let message = pb::Event::from(event);
        let unknown = |field| InvalidEvent::Unknown { field, value: number };
        let verdict = pb::Event { verdict: number, ..message.clone() };
        prop_assert_eq!(Event::try_from(verdict), Err(unknown("verdict")));
        let reason = pb::Event { reason: number, ..message.clone() };
        prop_assert_eq!(Event::try_from(reason), Err(unknown("reason")));
        let category = pb::Event { category: number, ..message };
        let value = InvalidRuleSet::UnknownValue { field: "category", value: number };
        prop_assert_eq!(Event::try_from(category), Err(value.into()));
    }
}

#[test]
fn an_event_without_a_target_is_of_no_container() {
    let message = pb::Event { verdict: 3, reason: 3, category: 1, ..pb::Event::default() };
    assert_eq!(Event::try_from(message).unwrap().target, Target::default());
}

#[test]
fn a_target_that_kubernetes_could_not_have_named_is_refused() {
    let pod = "p".repeat(MAX_TARGET_BYTES + 1);
    let target = Target { pod, ..Target::default() };
    let message = pb::Event {
        verdict: 3,
        reason: 1,
        category: 1,
        target: Some(target.into()),
        ..pb::Event::default()
    };
    let error = Event::try_from(message).unwrap_err();
    assert_eq!(error.to_string(), "event: `target.pod` has 254, allowed are 0 to 253");
}
