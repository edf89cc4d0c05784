// SPDX-License-Identifier: Apache-2.0
//! Containers whose files lie on the host, as Kata's do. The host and other containers move and
//! replace files there without any hook of this kernel; inode numbers and device numbers are used
//! again. No rule may be lost by that, and none may hit what it does not speak of.

mod identity;
mod mounts;
mod names;
mod numbers;
mod volumes;

use anyhow::Result;
use e2e::{
    node::{Node, NodeConfig},
    rootfs::{Rootfs, Running},
    suites::skipped,
    vm::missing_for_share,
};

/// A node whose guest has a share, where the host can make one.
fn start(name: &str) -> Result<Option<Node>> {
    if let Some(lack) = missing_for_share() {
        skipped(lack);
        return Ok(None);
    }
    let mut config = NodeConfig::new(name).virtiofs();
    config.relay_args = ["--default-file-posture", "block"].map(str::to_owned).into();
    Node::start(&config).map(Some)
}

/// The container of a pod `web` that has labels of policies for `nginx`.
fn run_web(node: &Node) -> Result<Running<'_>> {
    node.pod("web", "nginx")?;
    Node::container("web", Rootfs::DebianVirtiofs).run(&node.vm)
}

/// A script on the host, in the root of the container `web`.
fn on_host(node: &Node, script: &str) -> Result<String> {
    node.vm.share()?.sh(&format!("cd web/rootfs\n{script}"))
}

fn drop_caches(node: &Node) -> Result<()> {
    node.vm.sh("sync; echo 3 > /proc/sys/vm/drop_caches").map(drop)
}
