// SPDX-License-Identifier: Apache-2.0
//! From the guest's events to lines and watchers.

use kadapter_proto::{
    guest::v1::{Event, Primitive, Reason, Verdict},
    policy::v1::Category,
    relay::v1::{PolicyEvent, WatchEventsRequest},
};
use tonic::Streaming;

use crate::{
    objects::{pod, policy, target, waiting},
    rig::Rig,
};

fn denial(sequence: u64, rule: u64) -> Event {
    Event {
        sequence,
        time_ns: 1_700_000_000_000_000_000,
        container_id: "id-web".into(),
        target: Some(target("web").into()),
        generation: 1,
        rule_ids: vec![rule],
        hook: "bprm_check_security".into(),
        verdict: Verdict::Block.into(),
        reason: Reason::Rule.into(),
        category: Category::Process.into(),
        errno: 13,
        path: "/bin/apt".into(),
        exe: "/bin/sh".into(),
        ..Event::default()
    }
}

async fn watched(rig: &Rig) -> Streaming<PolicyEvent> {
    rig.api().await.watch_events(WatchEventsRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn events_become_lines_with_the_name_of_the_policy() {
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", policy("p", &["/bin/apt"]))]);
    rig.guest.report(waiting("web"));
    let rule = rig.guest.applied(1).await.rules()[0].id;
    let mut watched = watched(&rig).await;
    rig.guest.emit(denial(1, rule.0));
    let seen = watched.message().await.unwrap().unwrap();
    assert_eq!(seen.rules[0].policy, "shop/p");
    assert_eq!(seen.rules[0].field, "spec.process.matchPaths[0].path");
    assert_eq!(seen.event.unwrap().sequence, 1);

    let lines = rig.stop().await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for (field, expected) in [
        ("policyNames", serde_json::json!(["p"])),
        ("severity", 5.into()),
        ("message", "not here".into()),
        ("action", "Block".into()),
        ("result", "Permission denied".into()),
        ("resource", "/bin/apt".into()),
        ("pod", "web".into()),
        ("ruleIDs", serde_json::json!([rule.to_string()])),
    ] {
        assert_eq!(line[field], expected, "{field}");
    }
}

#[tokio::test]
async fn a_denial_by_an_option_names_who_asks_for_it() {
    let contained = policy("p", &["/bin/apt"]).replace(
        "namespace: shop}",
        "namespace: shop, annotations: {kadapter.io/level: contained}}",
    );
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", contained)]);
    rig.guest.report(waiting("web"));
    assert!(rig.guest.applied(1).await.options.deny_reads_of_exec_blocked);
    let reply = rig.api().await.get_rule_set(Rig::rule_set_request("web")).await;
    let mut asked = reply.unwrap().into_inner().options;
    asked.retain(|option| option.feature == "option.deny-reads-of-exec-blocked");
    assert_eq!(asked.len(), 1);

    let mut watched = watched(&rig).await;
    let (reason, primitive) = (Reason::Hardening.into(), Primitive::ExecRead.into());
    rig.guest.emit(Event { reason, primitive, rule_ids: Vec::new(), ..denial(1, 0) });
    let seen = watched.message().await.unwrap().unwrap();
    assert_eq!(seen.options, asked);
    assert_eq!((asked[0].level.as_str(), asked[0].finding.as_str()), ("contained", "KS120"));
    assert_eq!(asked[0].provenance.as_ref().unwrap().policy, "shop/p");

    let lines = rig.stop().await;
    assert_eq!(lines[0]["policyNames"], serde_json::json!(["p"]));
    assert_eq!(lines[0]["askedBy"][0]["level"], "contained");
}

#[tokio::test]
async fn a_reconnect_asks_for_the_events_that_were_missed() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    let mut watched = watched(&rig).await;
    rig.guest.emit(denial(41, 1));
    watched.message().await.unwrap().unwrap();
    rig.guest.go_away().await;
    rig.guest.emit(denial(42, 1));
    rig.guest.come_back();
    assert_eq!(watched.message().await.unwrap().unwrap().event.unwrap().sequence, 42);
    assert_eq!(rig.guest.until(|record| Some(record.since.clone())).await, [0, 41]);
}

#[tokio::test]
async fn another_boot_is_another_guest_whose_events_begin_anew() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    let mut watched = watched(&rig).await;
    rig.guest.emit(denial(41, 1));
    watched.message().await.unwrap().unwrap();
    rig.guest.go_away().await;
    rig.guest.reboot("boot-2");
    rig.guest.emit(denial(1, 1));
    rig.guest.come_back();
    assert_eq!(watched.message().await.unwrap().unwrap().event.unwrap().sequence, 1);
    assert_eq!(rig.sandbox(|found| found.boot_id == "boot-2").await.boot_id, "boot-2");
}

#[tokio::test]
async fn an_event_that_is_longer_than_any_is_left_out_and_the_next_one_comes() {
    let rig = Rig::start(&[("pod.yaml", pod("web"))]);
    let mut watched = watched(&rig).await;
    let longest = policy_model::limits::MAX_EVENT_TEXT_BYTES;
    let mut endless = denial(1, 1);
    endless.path = format!("/{}", "x".repeat(longest));
    rig.guest.emit(endless);
    rig.guest.emit(denial(2, 1));
    assert_eq!(watched.message().await.unwrap().unwrap().event.unwrap().sequence, 2);
}
