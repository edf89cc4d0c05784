// SPDX-License-Identifier: Apache-2.0
//! From files to rule sets in the guest.

use std::fmt::Write as _;

use kadapter_proto::guest::v1::ContainerState;
use policy_model::{Generation, Match, Object, PathObject, RuleSet};

use crate::{
    objects::{pod, policy, target, waiting},
    rig::Rig,
};

/// Programs that the set blocks by name.
fn blocked(rules: &RuleSet) -> Vec<String> {
    let name = |object: &Object| match object {
        Object::Path(PathObject { path, matching: Match::Name }) => Some(path.to_string()),
        _ => None,
    };
    let mut blocked: Vec<_> = rules.rules().iter().filter_map(|rule| name(&rule.object)).collect();
    blocked.sort();
    blocked
}

/// A relay whose guest has a waiting container of pod `web`, before and after a first policy.
async fn with_policy(programs: &[&str]) -> Rig {
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", policy("p", programs))]);
    rig.guest.report(waiting("web"));
    assert_eq!(blocked(&rig.guest.applied(1).await), programs);
    rig
}

#[tokio::test]
async fn a_waiting_container_gets_its_rules_with_a_twin_by_identity() {
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", policy("p", &["/bin/apt"]))]);
    rig.guest.report(waiting("web"));
    let rules = rig.guest.applied(1).await;
    assert_eq!(rules.target, target("web"));
    assert_eq!(rules.generation, Generation(1));
    assert_eq!(blocked(&rules), ["/bin/apt"]);
    assert_eq!(rules.rules().len(), 2);
}

#[tokio::test]
async fn a_container_that_no_policy_selects_gets_an_empty_rule_set() {
    let rig = Rig::start(&[("pod.yaml", pod("db")), ("policy.yaml", policy("p", &["/bin/apt"]))]);
    rig.guest.report(waiting("db"));
    assert!(rig.guest.applied(1).await.rules().is_empty());
}

#[tokio::test]
async fn an_added_changed_and_deleted_policy_is_followed() {
    let rig = Rig::start(&[("pod.yaml", pod("web"))]);
    rig.guest.report(waiting("web"));
    assert!(rig.guest.applied(1).await.rules().is_empty());
    rig.write("policy.yaml", &policy("p", &["/bin/apt"]));
    assert_eq!(blocked(&rig.guest.applied(2).await), ["/bin/apt"]);
    rig.write("policy.yaml", &policy("p", &["/bin/vi"]));
    assert_eq!(blocked(&rig.guest.applied(3).await), ["/bin/vi"]);
    rig.remove("policy.yaml");
    let last = rig.guest.applied(4).await;
    assert!(last.rules().is_empty());
    assert_eq!(last.generation, Generation(4));
}

#[tokio::test]
async fn a_malformed_edit_sends_nothing_and_the_last_version_stays() {
    let rig = with_policy(&["/bin/apt"]).await;
    rig.write("policy.yaml", &policy("p", &["/bin/vi"]).replace("matchPaths", "matchPath"));
    let shown = rig.policy(|policy| !policy.error.is_empty()).await;
    for part in ["policy.yaml", "document 1", "KubeArmorPolicy shop/p", "spec.process", "matchPath"]
    {
        assert!(shown.error.contains(part), "{part}: {}", shown.error);
    }
    rig.write("policy.yaml", "kind: [");
    rig.write("policy.yaml", &policy("p", &["/bin/ed"]));
    assert_eq!(blocked(&rig.guest.applied(2).await), ["/bin/ed"]);
}

#[tokio::test]
async fn a_field_that_is_not_built_sends_nothing_and_the_last_version_stays() {
    let rig = with_policy(&["/bin/apt"]).await;
    let capable = policy("p", &["/bin/vi"]) + "  presets: [{name: filelessExec}]\n";
    rig.write("policy.yaml", &capable);
    let shown = rig.policy(|policy| !policy.error.is_empty()).await;
    assert!(shown.error.contains("spec.presets[0]: not built yet; remove"), "{}", shown.error);
    let sandbox = rig.sandbox(|found| !found.containers[0].error.is_empty()).await;
    assert_eq!(sandbox.containers[0].generation, 1);
    rig.write("policy.yaml", &policy("p", &["/bin/ed"]));
    assert_eq!(blocked(&rig.guest.applied(2).await), ["/bin/ed"]);
}

#[tokio::test]
async fn a_pod_that_is_not_known_is_sent_nothing_until_it_is() {
    let rig = Rig::start(&[("pod.yaml", pod("db")), ("policy.yaml", policy("p", &["/bin/apt"]))]);
    rig.guest.report(waiting("web"));
    rig.guest.report(waiting("db"));
    assert_eq!(rig.guest.applied(1).await.target, target("db"));
    rig.write("web.yaml", &pod("web"));
    let rules = rig.guest.applied(2).await;
    assert_eq!((rules.target.clone(), blocked(&rules)), (target("web"), vec!["/bin/apt".into()]));
}

#[tokio::test]
async fn a_reconnect_sends_nothing_if_the_digest_is_equal() {
    let mut rig = with_policy(&["/bin/apt"]).await;
    rig.guest.go_away().await;
    rig.guest.come_back();
    rig.guest.until(|record| (record.handshakes == 2).then_some(())).await;
    // Only what changes now is sent, under the next number.
    rig.sandbox(|found| found.containers.first().is_some_and(|seen| seen.generation == 1)).await;
    rig.write("policy.yaml", &policy("p", &["/bin/vi"]));
    let rules = rig.guest.applied(2).await;
    assert_eq!((rules.generation, blocked(&rules)), (Generation(2), vec!["/bin/vi".into()]));
}

#[tokio::test]
async fn what_changed_while_the_guest_was_away_is_sent_at_the_reconnect() {
    let mut rig = with_policy(&["/bin/apt"]).await;
    rig.guest.go_away().await;
    rig.write("policy.yaml", &policy("p", &["/bin/vi"]));
    rig.guest.come_back();
    let rules = rig.guest.applied(2).await;
    assert_eq!((rules.generation, blocked(&rules)), (Generation(2), vec!["/bin/vi".into()]));
}

#[tokio::test]
async fn a_container_that_starts_again_gets_its_rules_again() {
    let rig = with_policy(&["/bin/apt"]).await;
    let mut again = waiting("web");
    again.container_id = "id-web-2".into();
    rig.guest.report(again);
    let rules = rig.guest.applied(2).await;
    assert_eq!((rules.generation, blocked(&rules)), (Generation(2), vec!["/bin/apt".into()]));
}

#[tokio::test]
async fn a_rule_set_that_the_guest_holds_for_a_container_that_ended_stays_current() {
    let rig = with_policy(&["/bin/apt"]).await;
    let mut ended = waiting("web");
    ended.state = ContainerState::Exited.into();
    rig.guest.report(ended);
    rig.sandbox(|found| found.containers.is_empty()).await;
    rig.write("policy.yaml", &policy("p", &["/bin/vi"]));
    assert_eq!(blocked(&rig.guest.applied(2).await), ["/bin/vi"]);
}

#[tokio::test]
async fn a_refusal_by_the_guest_is_shown_and_the_next_version_is_sent() {
    let rig = with_policy(&["/bin/apt"]).await;
    rig.guest.refuse(Some("no room"));
    rig.write("policy.yaml", &policy("p", &["/bin/vi"]));
    let sandbox = rig.sandbox(|found| !found.containers[0].error.is_empty()).await;
    assert!(sandbox.containers[0].error.contains("no room"));
    assert_eq!(sandbox.containers[0].generation, 1);
    rig.guest.refuse(None);
    rig.write("policy.yaml", &policy("p", &["/bin/ed"]));
    assert_eq!(blocked(&rig.guest.applied(2).await), ["/bin/ed"]);
}

#[tokio::test]
async fn a_large_rule_set_comes_in_pieces() {
    let mut programs = String::new();
    for number in 0..5000 {
        writeln!(programs, "    - {{path: /usr/bin/program-number-{number}}}").unwrap();
    }
    let large =
        policy("p", &[]).replace("{matchPaths: []}", &format!("\n    matchPaths:\n{programs}"));
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", large)]);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.rules().len(), 10_000);
    assert!(rig.guest.until(|record| Some(record.chunks)).await > 1);
}
