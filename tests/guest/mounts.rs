// SPDX-License-Identifier: Apache-2.0
//! What a container does to its own mounts, root and namespaces does not keep its rules from changing.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::{Capabilities, Container, Rootfs, Running},
};

use crate::{
    steps::{allowed, becomes_allowed, becomes_denied, block_program, policy},
    takeover::{kill_agent, restart_agent},
};

const ID: &str = "/usr/bin/id";

/// A container whose first program is this.
fn running(pod: &str, args: &[&str]) -> Container {
    Node::container(pod, Rootfs::Busybox).args(args)
}

/// The relay was told that the container's mounts are not known.
fn is_told(node: &Node, pod: &str) -> Result<()> {
    node.relay_log().wait("the residue", |line| {
        line.contains(&format!("shop/{pod}/main")) && line.contains("mounted since")
    })?;
    Ok(())
}

#[test]
fn mounts_that_no_rule_can_name_freeze_no_policy() -> Result<()> {
    let node = Node::start(&NodeConfig::new("mounts-unnamed"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).capabilities(Capabilities::All);
    // The namespaces of the sandbox, as a volume.
    let web = web.bind("/run/sandbox-ns", "/run/sandbox-ns").run(&node.vm)?;
    allowed(
        &web,
        "touch /a /b && mount --bind /proc/self/ns/ipc /a && mount --bind /proc/self/ns/uts /b",
    )?;
    let deep =
        "cd /tmp; at=0; while [ $at -lt 130 ]; do mkdir d && cd d || exit 1; at=$((at + 1)); done";
    allowed(&web, &format!("{deep}; mkdir /mnt && mount --bind . /mnt && mount -t tmpfs none ."))?;
    allowed(&web, "odd=$(printf '/tmp/\\377'); mkdir $odd && mount -t tmpfs none $odd")?;
    allowed(&web, &format!("{ID} && cat /mnt/../etc/passwd"))?;

    node.write("block.yaml", &block_program("no-id", "nginx", ID))?;
    becomes_denied(&web, ID)?;
    let file = "file:\n  matchPaths:\n  - path: /a\n  - path: /etc/passwd\naction: Block";
    node.write("file.yaml", &policy("no-file", "nginx", file))?;
    becomes_denied(&web, "cat /etc/passwd")?;
    node.relay_log().wait("the residue", |line| line.contains("`/a` has no place: in nsfs"))?;
    node.remove("block.yaml")?;
    becomes_allowed(&web, ID)
}

#[test]
fn a_first_process_that_leaves_its_namespace_or_root_gets_new_rules() -> Result<()> {
    let node = Node::start(&NodeConfig::new("mounts-left"))?;
    let jail = "mkdir /jail && cp /bin/busybox /jail && exec chroot /jail /busybox sleep 99999";
    let covered =
        "mkdir /m && mount --bind /usr /m && mount -t tmpfs none /usr && exec sleep 99999";
    let containers = [
        ("alone", running("alone", &["unshare", "-U", "-r", "-m", "sleep", "infinity"])),
        ("covered", running("covered", &["unshare", "-U", "-r", "-m", "/bin/sh", "-c", covered])),
        ("jail", running("jail", &["/bin/sh", "-c", jail])),
    ];
    let mut all: Vec<(&str, Running<'_>)> = Vec::new();
    for (pod, container) in &containers {
        node.pod(pod, "nginx")?;
        all.push((*pod, container.run(&node.vm)?));
    }
    let [(_, alone), (_, covered), (_, jail)] = &all[..] else { anyhow::bail!("three") };
    let namespace = |running: &Running<'_>| {
        node.vm.must(&["readlink", &format!("/proc/{}/ns/mnt", running.pid())])
    };
    let runtimes = namespace(jail).context("of one that stays")?;
    eventually("two have left", || {
        Ok(namespace(alone)? != runtimes && namespace(covered)? != runtimes)
    })?;
    let root = || node.vm.must(&["readlink", &format!("/proc/{}/root", jail.pid())]);
    eventually("one has another root", || Ok(root()?.contains("jail")))?;

    node.write("block.yaml", &block_program("no-id", "nginx", ID))?;
    becomes_denied(alone, ID)?;
    becomes_denied(jail, ID)?;
    is_told(&node, "jail")?;
    // The program below what it has mounted over it.
    becomes_denied(covered, "/m/bin/id")?;
    // The next agent finds the first process where it is now.
    kill_agent(&node)?;
    restart_agent(&node)?;
    node.write("more.yaml", &block_program("no-ls", "nginx", "/bin/ls"))?;
    for running in [alone, covered, jail] {
        becomes_denied(running, "/bin/ls /")?;
    }
    node.remove("more.yaml")?;
    node.remove("block.yaml")?;
    for (running, program) in [(alone, ID), (jail, ID), (covered, "/m/bin/id")] {
        becomes_allowed(running, program)?;
    }
    ensure!(!node.relay_log().all().iter().any(|line| line.contains("cannot be read")));
    Ok(())
}
