// SPDX-License-Identifier: Apache-2.0
//! Who is refused, and that nothing of him runs.

use anyhow::{Result, ensure};
use e2e::node::{Node, NodeConfig, eventually};

use super::{has_run, refused, testifying, testifying_under_kata, witness};
use crate::steps::{becomes_denied, block_program, denied};

/// Shorter than the default, so that tests of refusals are.
const SHORT_DEADLINE: [&str; 2] = ["--gate-deadline", "2s"];

fn impatient(name: &str) -> NodeConfig {
    let mut config = NodeConfig::new(name);
    config.agent_args = SHORT_DEADLINE.map(str::to_owned).into();
    config
}

#[test]
fn a_container_of_an_unknown_pod_never_runs() -> Result<()> {
    let node = Node::start(&impatient("gate-unknown"))?;
    witness(&node)?;
    for (pod, container) in [
        ("ghost", testifying("ghost")),
        // Here nothing but the death of the process keeps it from running.
        ("kata-ghost", testifying_under_kata("kata-ghost")),
    ] {
        refused(&node, &container, pod)?;
        node.relay_log().wait("the warning", |line| {
            line.contains("WARN") && line.contains(&format!("pod shop/{pod} is not known here"))
        })?;
    }
    let said = refused(&node, &testifying("ghost2"), "ghost2")?;
    ensure!(said.contains("the container is refused: no rule set for it has arrived"), "{said}");

    for (pod, container) in
        [("known", testifying("known")), ("kata-known", testifying_under_kata("kata-known"))]
    {
        node.pod(pod, "nginx")?;
        let _running = container.run(&node.vm)?;
        eventually("a known one runs", || has_run(&node.vm, pod))?;
    }
    Ok(())
}

#[test]
fn without_an_agent_nothing_starts_and_what_runs_keeps_its_rules() -> Result<()> {
    let node = Node::start(&NodeConfig::new("gate-no-agent"))?;
    witness(&node)?;
    for pod in ["web", "late", "kata-late"] {
        node.pod(pod, "nginx")?;
    }
    node.write("block.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    let web = testifying("web").run(&node.vm)?;
    eventually("it runs", || has_run(&node.vm, "web"))?;
    becomes_denied(&web, "/usr/bin/id")?;

    node.vm.sh("kill -KILL $(pidof kadapter-agent)")?;
    eventually("the agent is gone", || Ok(!node.vm.exec(&["pidof", "kadapter-agent"])?.success()))?;
    let said = refused(&node, &testifying("late"), "late")?;
    ensure!(said.contains("asking the agent at /run/kadapter/agent.sock"), "{said}");
    refused(&node, &testifying_under_kata("kata-late"), "kata-late")?;
    denied(&web, "/usr/bin/id")
}

#[test]
fn a_namespace_may_start_without_rules_and_gets_them_later() -> Result<()> {
    let mut config = impatient("gate-fail-open");
    config.agent_args.extend(["--fail-open-namespace".into(), "shop".into()]);
    let node = Node::start(&config)?;
    witness(&node)?;
    let elsewhere = testifying("strict").annotation("io.kubernetes.cri.sandbox-namespace", "bank");
    refused(&node, &elsewhere, "strict")?;

    let web = testifying("web").run(&node.vm)?;
    eventually("it runs", || has_run(&node.vm, "web"))?;
    node.write("block.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    node.pod("web", "nginx")?;
    becomes_denied(&web, "/usr/bin/id")
}
