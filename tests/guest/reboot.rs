// SPDX-License-Identifier: Apache-2.0
//! A machine that dies: what boots in its place is another guest, and gets everything anew.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::Rootfs,
};
use serde_json::Value;

use crate::steps::{allowed, becomes_allowed, becomes_denied, denied, event_on, policy};

const FILES: &str =
    "file:\n  matchPaths:\n  - path: /etc/first\n  - path: /etc/second\naction: Block";

/// Boots that the relay has connected to.
fn boots(node: &Node) -> BTreeSet<String> {
    let connected = node.relay_log().all().into_iter().filter_map(|line| {
        let entry = serde_json::from_str::<Value>(&line).ok()?;
        (entry["message"] == "connected").then(|| entry["boot_id"].to_string())
    });
    connected.collect()
}

#[test]
fn a_machine_that_boots_behind_the_same_address_is_a_new_guest() -> Result<()> {
    let config = NodeConfig::new("reboot");
    let mut node = Node::start(&config)?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "echo text | tee /etc/first /etc/second && cat /etc/first")?;
    node.write("files.yaml", &policy("files", "nginx", FILES))?;
    becomes_denied(&web, "cat /etc/first")?;
    event_on(&node, "/etc/first", "Block")?;
    drop(web);

    node.reboot(&config)?;
    eventually("the relay has met two boots", || Ok(boots(&node).len() == 2))?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    // From its first instruction on: the file is not even made.
    denied(&web, "echo text > /etc/second")?;
    allowed(&web, "test ! -e /etc/second")?;
    allowed(&web, "echo text > /etc/third && cat /etc/third")?;
    let event = event_on(&node, "/etc/second", "Block")?;
    let sequence = event["sequence"].as_u64().context("an event without a number")?;
    ensure!(sequence <= 2, "the new guest's numbers begin anew: {event}");
    node.remove("files.yaml")?;
    becomes_allowed(&web, "echo text > /etc/second")
}
