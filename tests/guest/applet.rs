// SPDX-License-Identifier: Apache-2.0
//! Programs of a multi-call binary are told apart by the arguments of the exec, under any name of
//! its inode. No policy says that yet: the rule sets go straight to the agent.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::{Rootfs, Running},
};
use kadapter_proto::guest::v1::Envelope;
use policy_model::{
    Action, Category, Generation, Object, Posture, Rule, RuleId, RulePath, RuleSet, Target, wire,
};
use prost::Message as _;
use serde_json::json;

use crate::{
    agent::Agent,
    steps::{allowed, denied, expect_fields, sh},
};

/// What a shell says of a program that SIGKILL ended.
const KILLED: &str = "status 137";

fn applets(action: Action, names: &[&str]) -> Result<Vec<Rule>> {
    let names = names.iter().copied().map(str::to_owned).collect();
    let object = Object::Applet { binary: RulePath::new("/bin/busybox")?, names };
    Ok(vec![Rule::new(RuleId(7), Category::Process, action, object)])
}

/// Applies these rules to the container, as its relay would.
fn apply(agent: &mut Agent, rules: Vec<Rule>) -> Result<()> {
    let target = Target {
        namespace: "shop".into(),
        pod: "web".into(),
        pod_uid: "web-uid".into(),
        container_name: "main".into(),
    };
    let in_force = agent.status()?.targets.iter().map(|target| target.generation).max();
    let generation = Generation(in_force.unwrap_or_default()).next();
    let mut set = RuleSet::empty(target, generation).with_rules(rules);
    set.postures.process = Posture::Block;
    let payload = wire::encode(&set);
    let applied = agent.apply(&Envelope { payload, signatures: Vec::new() }.encode_to_vec())?;
    ensure!(applied.bound && applied.residues.is_empty(), "{applied:?}");
    Ok(())
}

fn killed(container: &Running<'_>, script: &str) -> Result<()> {
    let text = sh(container, &format!("{script}; echo status $?"))?.stdout.text();
    ensure!(text.contains(KILLED), "`{script}` was not killed: {text}");
    Ok(())
}

/// Other ways to one applet, prepared before there are rules.
const PREPARE: &str = "mkdir /tmp/d && cp /bin/busybox /tmp/d/ls && ln /bin/cat /tmp/ls && \
    ln -s /bin/busybox /tmp/d/link && \
    printf '#!/bin/busybox ls\\n' > /tmp/script && chmod +x /tmp/script";

const WAYS: [&str; 6] = [
    "/bin/ls /",
    "/bin/busybox ls /",
    "/bin/busybox busybox /x/ls /",
    "/tmp/ls /",
    "/tmp/d/ls /",
    "/tmp/script",
];

const OTHERS: &str = "/bin/cat /etc/passwd && /bin/busybox cat /etc/passwd && /bin/busybox true";

#[test]
fn an_applet_is_killed_under_every_name_and_the_others_run() -> Result<()> {
    let node = Node::start(&NodeConfig::new("applets"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, PREPARE)?;
    for way in WAYS {
        allowed(&web, way)?;
    }
    node.kill_relay();
    let mut agent = Agent::dial(&node)?;
    eventually("the relay's session is over", || Ok(!agent.is_second()))?;

    apply(&mut agent, applets(Action::Block, &["ls", "vi"])?)?;
    for way in WAYS {
        killed(&web, way)?;
    }
    allowed(&web, OTHERS)?;
    // An argument that says so does not make a program an applet, nor does a part of its name.
    allowed(&web, "/bin/echo ls && /bin/cat ls 2> /dev/null || true")?;

    // A whitelist of applets: what is denied whatever it is asked for, but for these.
    apply(&mut agent, applets(Action::Allow, &["cat", "sh", "true"])?)?;
    allowed(&web, OTHERS)?;
    for way in &WAYS[..5] {
        killed(&web, way)?;
    }
    // No rule names the script.
    denied(&web, WAYS[5])?;

    apply(&mut agent, Vec::new())?;
    for way in WAYS {
        allowed(&web, way)?;
    }
    drop(agent);
    node.restart_relay()?;
    let event = node.event("a killed applet", |event| event["hook"] == "bprm_committed_creds")?;
    let what = [
        ("resource", json!("/bin/ls")),
        ("action", json!("Block")),
        ("ruleIDs", json!(["0000000000000007"])),
    ];
    expect_fields(&event, &what)
}
