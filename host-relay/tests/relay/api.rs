// SPDX-License-Identifier: Apache-2.0
//! What operators see over the socket.

use kadapter_proto::{
    guest::v1::{ContainerState, PostureState},
    relay::v1::{GetRuleSetRequest, SessionState},
};
use policy_model::{RuleSet, wire};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    objects::{pod, policy, waiting},
    rig::Rig,
};

#[tokio::test]
async fn sandboxes_policies_and_rule_sets_are_shown() {
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", policy("p", &["/bin/apt"]))]);
    rig.guest.report(waiting("web"));
    let sent = rig.guest.applied(1).await;
    let sandbox = rig
        .sandbox(|found| found.containers.first().is_some_and(|seen| seen.generation == 1))
        .await;
    assert_eq!(sandbox.state(), SessionState::Connected);
    assert_eq!(sandbox.guest_version, "recording");
    let container = &sandbox.containers[0];
    assert_eq!(container.state(), ContainerState::Registered);
    assert_eq!(container.policies, ["shop/p"]);
    assert_eq!(container.digest, wire::digest(&sent).to_string());

    let shown = rig.policy(|found| !found.selects.is_empty()).await;
    assert_eq!((shown.name.as_str(), &*shown.selects), ("p", &["shop/web/main".to_owned()][..]));
    assert!(shown.origin.ends_with("policy.yaml"));

    let mut api = rig.api().await;
    let reply = api.get_rule_set(Rig::rule_set_request("web")).await.unwrap().into_inner();
    assert_eq!(RuleSet::try_from(reply.rule_set.unwrap()).unwrap(), sent);
    assert_eq!(reply.digest, container.digest);
    let layers: Vec<_> = reply.provenance.iter().map(|found| found.layer.as_str()).collect();
    assert!(layers.contains(&"user") && layers.contains(&"harden"), "{layers:?}");
}

#[tokio::test]
async fn what_a_guest_promises_is_followed_and_shown_with_the_reason() {
    let rig = Rig::start(&[]);
    let shown = async |state| rig.sandbox(|found| found.posture() == state).await;
    let says = |posture| rig.guest.update(|record| record.posture = posture);
    shown(PostureState::Enforcing).await;
    says((PostureState::TakingOver, "wait"));
    let sandbox = shown(PostureState::TakingOver).await;
    assert_eq!((sandbox.posture_reason.as_str(), sandbox.error.as_str()), ("wait", ""));
    says((PostureState::Degraded, "events were lost"));
    assert_eq!(shown(PostureState::Degraded).await.posture_reason, "events were lost");
}

#[tokio::test]
async fn a_container_that_no_guest_has_is_not_found() {
    let rig = Rig::start(&[]);
    let error = rig.api().await.get_rule_set(Rig::rule_set_request("web")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let rig = Rig::start(&[]);
    let ask = async |bytes| {
        let namespace = "x".repeat(bytes);
        let request = GetRuleSetRequest { namespace, ..Rig::rule_set_request("web") };
        rig.api().await.get_rule_set(request).await.unwrap_err().code()
    };
    assert_eq!(ask(8 * 1024).await, Code::OutOfRange);
    assert_eq!(ask(253).await, Code::NotFound);
}

#[tokio::test]
async fn a_held_container_says_why() {
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("broken.yaml", "kind: [".into())]);
    rig.guest.report(waiting("web"));
    rig.sandbox(|found| found.containers.first().is_some_and(|seen| !seen.error.is_empty())).await;
    let error = rig.api().await.get_rule_set(Rig::rule_set_request("web")).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("broken.yaml"), "{}", error.message());
    rig.remove("broken.yaml");
    assert!(rig.guest.applied(1).await.rules().is_empty());
}

#[tokio::test]
async fn reflection_and_health_are_offered() {
    let rig = Rig::start(&[]);
    let mut reflection = ServerReflectionClient::new(rig.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let replies = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let reply = replies.into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("no list of services");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert!(names.contains(&"kadapter.relay.v1.Relay".into()), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health".into()), "{names:?}");

    let service = "kadapter.relay.v1.Relay".into();
    let mut health = HealthClient::new(rig.channel().await);
    let reply = health.check(HealthCheckRequest { service }).await.unwrap().into_inner();
    assert_eq!(reply.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
}
