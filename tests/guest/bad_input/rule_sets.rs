// SPDX-License-Identifier: Apache-2.0
//! Messages that no relay of this build sends, straight to the agent.

use anyhow::{Result, ensure};
use e2e::node::{Node, NodeConfig, eventually};
use kadapter_proto::{
    guest::v1::{Envelope, PostureState},
    policy::v1 as pb,
};
use policy_model::{
    Action, Category, Digest, Generation, Match, Object, PathObject, Rule, RuleId, RulePath,
    RuleSet, Target, wire,
};
use prost::Message as _;
use tonic::Code;

use super::{BLOCKED, under_a_policy};
use crate::{
    agent::Agent,
    steps::{allowed, becomes_denied, denied},
};

fn envelope(payload: Vec<u8>) -> Vec<u8> {
    Envelope { payload, signatures: Vec::new() }.encode_to_vec()
}

/// A set for the container `web` that blocks one program.
fn blocking(path: &str, generation: Generation) -> Result<RuleSet> {
    let target = Target {
        namespace: "shop".into(),
        pod: "web".into(),
        pod_uid: "web-uid".into(),
        container_name: "main".into(),
    };
    let object = Object::Path(PathObject { path: RulePath::new(path)?, matching: Match::Name });
    let rule = Rule::new(RuleId(1), Category::Process, Action::Block, object);
    Ok(RuleSet::empty(target, generation).with_rules(vec![rule]))
}

/// A message that is refused, with which code, and what the agent says of it.
type Refused = (Vec<u8>, Code, &'static str);

fn altered(rules: &RuleSet, alter: impl FnOnce(&mut pb::RuleSet)) -> Vec<u8> {
    let mut message = pb::RuleSet::from(rules);
    alter(&mut message);
    envelope(message.encode_to_vec())
}

/// Broken on the way, or by whoever wrote it.
fn malformed(rules: &RuleSet) -> Vec<Refused> {
    let whole = wire::encode(rules);
    let relative = |rules: &mut pb::RuleSet| {
        let path = pb::PathObject { path: "usr/bin/id".into(), r#match: pb::Match::Name.into() };
        rules.rules[0].object = Some(pb::Object { kind: Some(pb::object::Kind::Path(path)) });
    };
    let too_large = vec![0; policy_model::limits::MAX_RULE_SET_BYTES + (1 << 20)];
    vec![
        (vec![0xff; 64], Code::InvalidArgument, "the envelope cannot be decoded"),
        (envelope(whole[..whole.len() - 1].to_vec()), Code::InvalidArgument, "cannot be decoded"),
        (envelope(whole[..whole.len() / 2].to_vec()), Code::InvalidArgument, ""),
        (envelope([whole.as_slice(), &[0x08, 0x01]].concat()), Code::InvalidArgument, "canonical"),
        (altered(rules, |rules| rules.target = None), Code::InvalidArgument, "`target` is missing"),
        (altered(rules, relative), Code::InvalidArgument, "is relative"),
        (envelope(too_large), Code::InvalidArgument, "more than"),
    ]
}

/// Right for another agent or at another time.
fn unfit(rules: &RuleSet, in_force: Generation) -> Vec<Refused> {
    let feature = |rules: &mut pb::RuleSet| rules.required_features = vec!["object.later".into()];
    let mut execname = rules.clone().with_rules(vec![Rule::new(
        RuleId(1),
        Category::Process,
        Action::Block,
        Object::ExecName("id".into()),
    )]);
    execname.generation = rules.generation;
    let mut stale = rules.clone();
    stale.generation = in_force;
    let mut expired = rules.clone();
    expired.not_after = std::num::NonZeroU64::new(1);
    vec![
        (Vec::new(), Code::FailedPrecondition, "format 0"),
        (altered(rules, |rules| rules.format = 2), Code::FailedPrecondition, "upgrade"),
        (altered(rules, feature), Code::FailedPrecondition, "object.later"),
        (envelope(wire::encode(&execname)), Code::FailedPrecondition, "object.execname"),
        (envelope(wire::encode(&stale)), Code::FailedPrecondition, "does not follow"),
        (envelope(wire::encode(&expired)), Code::FailedPrecondition, "was valid until"),
    ]
}

#[test]
fn what_is_no_rule_set_for_this_guest_changes_nothing_in_it() -> Result<()> {
    let node = Node::start(&NodeConfig::new("bad-rule-set"))?;
    let web = under_a_policy(&node)?;
    // The agent obeys one client at a time.
    node.kill_relay();
    let mut agent = Agent::dial(&node)?;
    eventually("the relay's session is over", || Ok(!agent.is_second()))?;
    let before = agent.status()?;
    ensure!(before.posture() == PostureState::Enforcing, "{before:?}");
    let in_force = Generation(before.targets[0].generation);
    let rules = blocking("/bin/ls", in_force.next())?;

    let mut wrong = Vec::new();
    for (message, code, text) in malformed(&rules).into_iter().chain(unfit(&rules, in_force)) {
        match agent.apply(&message) {
            Err(status) if status.code() == code && status.message().contains(text) => {}
            other => wrong.push(format!("expected {code:?} with {text:?}, got {other:?}")),
        }
        ensure!(agent.status()?.targets == before.targets, "changed by what says {text:?}");
        denied(&web, BLOCKED)?;
        allowed(&web, "/bin/ls /")?;
    }
    ensure!(wrong.is_empty(), "\n{}", wrong.join("\n"));

    let payload = wire::encode(&rules);
    let applied = agent.apply(&envelope(payload.clone()))?;
    ensure!(applied.bound && applied.generation == rules.generation.0, "{applied:?}");
    ensure!(applied.digest == Digest::of(&payload).0, "another digest than that of the bytes sent");
    allowed(&web, BLOCKED)?;
    drop(agent);
    // A relay sees that its rules were replaced, and puts them back.
    node.restart_relay()?;
    becomes_denied(&web, BLOCKED)?;
    allowed(&web, "/bin/ls /")
}
