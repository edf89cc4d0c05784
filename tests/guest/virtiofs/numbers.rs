// SPDX-License-Identifier: Apache-2.0
//! Numbers that are used again: an inode's after its file is gone, a device's after its container.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, eventually},
    rootfs::{Rootfs, Running},
};

use super::{drop_caches, on_host, run_web, start};
use crate::{
    files::file_policy,
    steps::{allowed, becomes_allowed, becomes_denied, block_program, denied, sh},
    takeover::{kill_agent, kill_keeper, restart_agent},
};

/// Files that are made until one has the number: ext4 gives the lowest that is free nearby.
const MOST_FILES: usize = 100;

/// Makes files on the host until one has this inode number; gives the last one made, and whether
/// it has it.
fn take_number(node: &Node, number: &str) -> Result<(String, bool)> {
    let script = format!(
        "for i in $(seq {MOST_FILES}); do f=opt/free-$i; test -e $f && continue\n\
         cp usr/bin/true $f\n\
         if test $(stat -c %i $f) = {number}; then break; fi\ndone\n\
         echo $f $(stat -c %i $f)"
    );
    let text = on_host(node, &script)?;
    let (name, got) = text.trim().split_once(' ').context("a name and a number")?;
    Ok((format!("/{name}"), got == number))
}

#[test]
fn a_file_that_gets_a_blocked_ones_number_is_not_blocked() -> Result<()> {
    let Some(node) = start("virtiofs-number")? else { return Ok(()) };
    let web = run_web(&node)?;
    allowed(&web, "cp /bin/true /opt/tool && /opt/tool")?;
    node.write("block.yaml", &block_program("no-tool", "nginx", "/opt/tool"))?;
    becomes_denied(&web, "/opt/tool")?;
    let number = on_host(&node, "sync; stat -c %i opt/tool; rm opt/tool")?.trim().to_owned();
    drop_caches(&node)?;

    // While the agent or its keeper holds the inode its number is not free; whatever comes is innocent.
    let (innocent, _) = take_number(&node, &number)?;
    becomes_allowed(&web, &innocent)?;
    kill_agent(&node)?;
    kill_keeper(&node)?;
    drop_caches(&node)?;
    on_host(&node, "rm opt/free-*")?;
    drop_caches(&node)?;
    let (innocent, taken) = take_number(&node, &number)?;
    ensure!(taken, "inode {number} was not used again: nothing was tried");
    becomes_allowed(&web, &innocent)?;
    restart_agent(&node)?;
    allowed(&web, &innocent)?;

    // The rule is still there for its name.
    on_host(&node, "cp usr/bin/true opt/tool")?;
    eventually("it appears", || Ok(sh(&web, "test -e /opt/tool")?.success()))?;
    denied(&web, "/opt/tool")?;
    node.remove("block.yaml")?;
    becomes_allowed(&web, "/opt/tool")
}

fn device(container: &Running<'_>) -> Result<String> {
    Ok(sh(container, "stat -c %d /")?.stdout.text().trim().to_owned())
}

#[test]
fn a_device_number_that_is_used_again_brings_no_old_verdict() -> Result<()> {
    let Some(node) = start("virtiofs-device")? else { return Ok(()) };
    node.pod("web", "nginx")?;
    node.pod("other", "redis")?;
    node.write("block.yaml", &block_program("no-apt", "nginx", "/usr/bin/apt"))?;
    node.write("files.yaml", &file_policy("matchPaths", &["path: /etc/debian_version"], "Block"))?;
    let run = |pod| Node::container(pod, Rootfs::DebianVirtiofs).run(&node.vm);
    let (read, exec) = ("cat /etc/debian_version", "/usr/bin/apt --version");
    let (mut ruled, mut again) = (Vec::new(), 0);
    for _ in 0..3 {
        let web = run("web")?;
        ruled.push(device(&web)?);
        becomes_denied(&web, exec)?;
        denied(&web, read)?;
        web.delete()?;
        let other = run("other")?;
        again += usize::from(ruled.contains(&device(&other)?));
        allowed(&other, &format!("{read} && {exec}"))?;
        other.delete()?;
    }
    ensure!(again > 0, "no device number was used again: {ruled:?}");
    Ok(())
}
