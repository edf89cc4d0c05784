// SPDX-License-Identifier: Apache-2.0
//! Several containers at once, and processes that live through a change of policies.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::{Rootfs, Running},
    vm::{KernelChoice, Line, Spawn, Vm},
};

use crate::steps::{
    allowed, becomes_allowed, becomes_denied, block_program, denied, event_on, policy,
};

/// Opens a file with a builtin of one and the same shell, over and over, and keeps the outcomes.
const READER: &str = "while :; do if read x < /etc/passwd; then echo yes; else echo no; fi \
                      > /tmp/last; done 2> /dev/null";

/// What the reader saw last.
fn last_outcome(container: &Running<'_>) -> Result<String> {
    Ok(container.exec(&["/bin/cat", "/tmp/last"])?.stdout.text().trim().to_owned())
}

fn start_reader(vm: &Vm, container: &str) -> Result<i32> {
    let argv = ["runc", "exec", container, "/bin/sh", "-c", READER].map(str::to_owned).into();
    vm.spawn(Spawn { argv, log: "/var/log/reader.log".into(), ..Spawn::default() })
}

#[test]
fn two_containers_obey_their_own_policies() -> Result<()> {
    let node = Node::start(&NodeConfig::new("two"))?;
    for (pod, app) in [("web", "nginx"), ("store", "redis"), ("free", "none")] {
        node.pod(pod, app)?;
    }
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    let store = Node::container("store", Rootfs::Busybox).run(&node.vm)?;
    let free = Node::container("free", Rootfs::Busybox).run(&node.vm)?;
    for container in [&web, &store, &free] {
        allowed(container, "/bin/ls / && /usr/bin/id")?;
    }

    node.write("web.yaml", &block_program("no-ls", "nginx", "/bin/ls"))?;
    node.write("store.yaml", &block_program("no-id", "redis", "/usr/bin/id"))?;
    becomes_denied(&web, "/bin/ls /")?;
    becomes_denied(&store, "/usr/bin/id")?;
    allowed(&web, "/usr/bin/id")?;
    allowed(&store, "/bin/ls /")?;
    allowed(&free, "/bin/ls / && /usr/bin/id")?;
    ensure!(event_on(&node, "/bin/ls", "Block")?["pod"] == "web");
    ensure!(event_on(&node, "/usr/bin/id", "Block")?["pod"] == "store");
    ensure!(!node.events().all().iter().any(|line| line.contains("\"pod\":\"free\"")));

    node.remove("web.yaml")?;
    becomes_allowed(&web, "/bin/ls /")?;
    denied(&store, "/usr/bin/id")?;
    node.remove("store.yaml")?;
    becomes_allowed(&store, "/usr/bin/id")
}

#[test]
fn a_policy_reaches_a_process_that_runs() -> Result<()> {
    let node = Node::start(&NodeConfig::new("running"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    start_reader(&node.vm, "web")?;
    eventually("the reader reads", || Ok(last_outcome(&web)? == "yes"))?;

    // The source is the shell that was started before there was a rule.
    let block = "file:\n  matchPaths:\n  - path: /etc/passwd\n    fromSource:\n    - path: /bin/sh\n\
                 action: Block";
    node.write("block.yaml", &policy("no-read", "nginx", block))?;
    eventually("the reader is denied", || Ok(last_outcome(&web)? == "no"))?;
    allowed(&web, "/bin/cat /etc/passwd")?;
    let event = event_on(&node, "/etc/passwd", "Block")?;
    ensure!(event["source"] == "/bin/sh" && event["operation"] == "File", "{event:#}");

    node.remove("block.yaml")?;
    eventually("the reader reads again", || Ok(last_outcome(&web)? == "yes"))
}

#[test]
fn labels_of_a_pod_decide_when_they_change() -> Result<()> {
    let node = Node::start(&NodeConfig::new("labels"))?;
    node.pod("web", "nginx")?;
    node.write("block.yaml", &block_program("no-ls", "redis", "/bin/ls"))?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "/bin/ls /")?;
    node.pod("web", "redis")?;
    becomes_denied(&web, "/bin/ls /")?;
    node.pod("web", "nginx")?;
    becomes_allowed(&web, "/bin/ls /")
}

#[test]
fn a_restarted_relay_sends_nothing_that_is_there() -> Result<()> {
    let node = Node::start(&NodeConfig::new("relay-restart"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    node.write("block.yaml", &block_program("no-ls", "nginx", "/bin/ls"))?;
    becomes_denied(&web, "/bin/ls /")?;

    node.restart_relay()?;
    denied(&web, "/bin/ls /")?;
    // A change is sent, hence all before it has been compared.
    node.write("more.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    becomes_denied(&web, "/usr/bin/id")?;
    let applied = node.relay_log().all();
    let applied = applied.iter().filter(|line| line.contains("\"applied\"")).count();
    ensure!(applied == 1, "{applied} rule sets were sent");
    event_on(&node, "/usr/bin/id", "Block")?;
    Ok(())
}

#[test]
fn debians_own_kernel_enforces_too() -> Result<()> {
    let mut config = NodeConfig::new("debian-kernel");
    config.kernel = KernelChoice::Debian(Line::V6_12);
    config.cmdline = vec!["lsm=bpf".into()];
    let node = Node::start(&config)?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "/bin/ls /")?;
    node.write("block.yaml", &block_program("no-ls", "nginx", "/bin/ls"))?;
    becomes_denied(&web, "/bin/ls /")?;
    node.remove("block.yaml")?;
    becomes_allowed(&web, "/bin/ls /")
}
