// SPDX-License-Identifier: Apache-2.0
//! The gate: no container executes an instruction before its rules are in force, or without them.
//!
//! What executes leaves a file on a volume of the guest: its absence is the proof.

mod life;
mod posture;
mod refusals;

use anyhow::{Result, ensure};
use e2e::{
    node::{AGENT, Node},
    rootfs::{Container, Hook, HookPoint, Rootfs},
    vm::Vm,
};

/// Directory of the guest that containers write to.
const WITNESS: &str = "/run/witness";

/// Makes that directory.
fn witness(node: &Node) -> Result<()> {
    node.vm.sh(&format!("mkdir -p {WITNESS}")).map(drop)
}

/// A container whose first program leaves a file with the name of its pod.
fn testifying(pod: &str) -> Container {
    testify(Node::container(pod, Rootfs::Busybox), pod)
}

/// As [`testifying`], for a runtime that ignores how the hook ends, as the one in a Kata guest
/// does.
fn testifying_under_kata(pod: &str) -> Container {
    let script = format!("{AGENT} hook prestart; exit 0");
    let container = Container::new(pod, Rootfs::Busybox)
        .annotation("io.kubernetes.cri.container-type", "container")
        .annotation("io.kubernetes.cri.container-name", "main")
        .annotation("io.kubernetes.cri.sandbox-name", pod)
        .annotation("io.kubernetes.cri.sandbox-namespace", "shop")
        .hook(HookPoint::Prestart, Hook::new("/bin/sh", &["sh", "-c", &script]));
    testify(container, pod)
}

fn testify(container: Container, pod: &str) -> Container {
    let script = format!("echo {pod} > /witness/{pod}; exec sleep infinity");
    container.bind(WITNESS, "/witness").args(&["/bin/sh", "-c", &script])
}

/// Whether a container has executed anything.
fn has_run(vm: &Vm, pod: &str) -> Result<bool> {
    Ok(vm.exec(&["test", "-e", &format!("{WITNESS}/{pod}")])?.success())
}

/// Starts a container that is refused, and returns what the runtime and the hook said.
fn refused(node: &Node, container: &Container, pod: &str) -> Result<String> {
    let output = container.prepare(&node.vm)?.run()?;
    let said = output.stdout.text();
    ensure!(!output.success(), "{pod} was started: {said}");
    ensure!(!has_run(&node.vm, pod)?, "{pod} was refused and has run");
    Ok(said)
}
