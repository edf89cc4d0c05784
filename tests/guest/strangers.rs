// SPDX-License-Identifier: Apache-2.0
//! Others than the node's relay speak to the agent: they are refused, the reason can be read, and
//! the rules stay in force.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig, PATIENCE, keygen},
    rootfs::Rootfs,
};

use crate::{
    agent::Agent,
    steps::{allowed, becomes_allowed, becomes_denied, block_program, denied},
};

const BLOCKED: &str = "/usr/bin/id";

#[test]
fn only_the_relay_whose_key_is_on_the_kernels_command_line_is_obeyed_and_it_alone() -> Result<()> {
    let node = Node::start(&NodeConfig::new("strangers"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, BLOCKED)?;
    node.write("policy.yaml", &block_program("no-id", "nginx", BLOCKED))?;
    becomes_denied(&web, BLOCKED)?;

    ensure!(Agent::dial(&node)?.is_second(), "a second client is obeyed");
    let log = |what: &str| {
        let line = node.vm.console().wait_for(what, Instant::now() + PATIENCE);
        line.with_context(|| format!("the agent does not log `{what}`"))
    };
    log("a second relay is refused")?;

    let stranger = node.policies().with_file_name("stranger.key");
    let pin = keygen(&stranger)?;
    node.replace_relay(&stranger)?;
    node.remove("policy.yaml")?;
    let reason =
        node.relay_log().wait("the refusal", |line| line.contains("refuses this relay"))?;
    ensure!(reason.contains(&format!("kadapter.relay_key={pin}")), "no remedy in {reason}");
    let reason = log(&format!("the key {pin} is not configured"))?;
    ensure!(reason.contains("connection refused"), "{reason}");
    denied(&web, BLOCKED)?;
    allowed(&web, "/bin/ls /")?;

    node.restart_relay()?;
    becomes_allowed(&web, BLOCKED)
}
