// SPDX-License-Identifier: Apache-2.0
//! Containers that come before their rules or after them, twice, or without any.

use std::thread;

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::Rootfs,
};

use super::{WITNESS, has_run, testifying, witness};
use crate::steps::{
    allowed, block_program, denied, event_on, expect_fields, is_denied, policy, sh,
};

#[test]
fn a_container_that_comes_before_its_pod_waits_and_starts() -> Result<()> {
    let node = Node::start(&NodeConfig::new("gate-wait"))?;
    witness(&node)?;
    node.write("block.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    let bundle = testifying("web").prepare(&node.vm)?;
    let started = thread::scope(|scope| {
        let start = scope.spawn(|| bundle.run());
        node.relay_log().wait("the container that waits", |line| {
            line.contains("shop/web/main") && line.contains("Waiting")
        })?;
        ensure!(!has_run(&node.vm, "web")?, "it does not wait");
        node.pod("web", "nginx")?;
        start.join().expect("it does not panic")
    })?;
    ensure!(started.success(), "{}", started.stdout.text());
    eventually("it runs", || has_run(&node.vm, "web"))?;
    denied(&bundle.running()?, "/usr/bin/id")
}

#[test]
fn rules_hold_from_the_first_instruction() -> Result<()> {
    let node = Node::start(&NodeConfig::new("gate-first"))?;
    witness(&node)?;
    node.pod("free", "redis")?;
    let _free = testifying("free").run(&node.vm)?;
    eventually("its first program runs", || has_run(&node.vm, "free"))?;

    node.write("block.yaml", &block_program("no-shell", "nginx", "/bin/sh"))?;
    node.pod("shell", "nginx")?;
    // What runc says is no proof: it may be gone before its child has tried to execute.
    testifying("shell").prepare(&node.vm)?.run()?;
    let event = event_on(&node, "/bin/sh", "Block")?;
    let fields = [
        ("containerID", "shell".into()),
        ("generation", 1.into()),
        ("result", "Permission denied".into()),
    ];
    expect_fields(&event, &fields)?;
    ensure!(!has_run(&node.vm, "shell")?, "its first program is blocked and has run");

    let secret = "file:\n  matchPaths:\n  - path: /etc/passwd\naction: Block";
    node.write("secret.yaml", &policy("secret", "reader", secret))?;
    node.pod("reader", "reader")?;
    let script = "cat /etc/passwd > /witness/read; echo > /witness/done; exec sleep infinity";
    let reader = Node::container("reader", Rootfs::Busybox).bind(WITNESS, "/witness");
    let _reader = reader.args(&["/bin/sh", "-c", script]).run(&node.vm)?;
    eventually("it has tried", || has_run(&node.vm, "done"))?;
    ensure!(node.vm.read_file(&format!("{WITNESS}/read"))?.is_empty(), "it has read the secret");
    Ok(())
}

#[test]
fn a_pause_container_needs_no_pod_and_has_no_rules() -> Result<()> {
    let node = Node::start(&NodeConfig::new("gate-pause"))?;
    let pause = Node::container("pause", Rootfs::Busybox)
        .annotation("io.kubernetes.cri.container-type", "sandbox");
    // A container that waits for a pod that nobody knows is refused, so this one does not wait.
    let pause = pause.run(&node.vm)?;
    node.relay_log().wait("its registration", |line| {
        line.contains("shop/pause/") && line.contains("Registered")
    })?;
    node.write("block.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    denied(&web, "/usr/bin/id")?;
    let event = event_on(&node, "/usr/bin/id", "Block")?;
    ensure!(event["sandbox"] == "pause", "{event:#}");
    allowed(&pause, "/usr/bin/id")
}

#[test]
fn a_container_that_is_made_again_has_its_rules_again() -> Result<()> {
    let node = Node::start(&NodeConfig::new("gate-again"))?;
    node.pod("web", "nginx")?;
    node.write("block.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    let container = Node::container("web", Rootfs::Busybox);
    for round in 1..=3 {
        let web = container.run(&node.vm)?;
        allowed(&web, "true")?;
        let output = sh(&web, "/usr/bin/id")?;
        ensure!(is_denied(&output), "round {round}: {}", output.stdout.text());
        web.delete()?;
    }
    Ok(())
}
