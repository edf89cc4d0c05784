// SPDX-License-Identifier: Apache-2.0
//! Identity: the inode that was found under a rule's name, wherever the host moves it.

use anyhow::{Context as _, Result, ensure};
use e2e::{node::Node, node::eventually, rootfs::Running, suites::measured};
use serde_json::json;

use super::{drop_caches, on_host, run_web, start};
use crate::{
    steps::{allowed, at_level, becomes_allowed, becomes_denied, block_program, denied, sh},
    takeover::{kill_agent, restart_agent},
};

/// Blocks apt in a container on virtio-fs.
fn block_apt<'a>(node: &'a Node, web: &Running<'a>) -> Result<()> {
    allowed(web, "/usr/bin/apt --version")?;
    node.write("block.yaml", &block_program("no-apt", "nginx", "/usr/bin/apt"))?;
    becomes_denied(web, "/usr/bin/apt --version")
}

/// Waits until the container sees what the host did.
fn appears(web: &Running<'_>, path: &str) -> Result<()> {
    eventually(&format!("{path} appears"), || Ok(sh(web, &format!("test -e {path}"))?.success()))
}

#[test]
fn a_program_that_the_host_moves_stays_blocked() -> Result<()> {
    let Some(node) = start("virtiofs-moved")? else { return Ok(()) };
    let web = run_web(&node)?;
    allowed(&web, "cp /usr/bin/apt /usr/bin/copied && /usr/bin/copied --version")?;
    block_apt(&node, &web)?;
    // If the first search had no time for it, the next one has.
    becomes_denied(&web, "/usr/bin/copied --version")?;
    on_host(&node, "ln usr/bin/apt usr/bin/linked && mv usr/bin/apt usr/bin/moved")?;
    let still = || -> Result<()> {
        for name in ["moved", "linked", "copied"] {
            denied(&web, &format!("/usr/bin/{name} --version"))?;
            denied(&web, &format!("cat /usr/bin/{name} > /dev/null"))?;
        }
        allowed(&web, "/usr/bin/apt-get --version")
    };
    appears(&web, "/usr/bin/moved")?;
    appears(&web, "/usr/bin/linked")?;
    still()?;
    // The inode is held, so that nothing of it is forgotten.
    drop_caches(&node)?;
    still()?;
    kill_agent(&node)?;
    still()?;
    drop_caches(&node)?;
    still()?;
    restart_agent(&node)?;
    still()?;
    drop_caches(&node)?;
    still()?;

    node.remove("block.yaml")?;
    becomes_allowed(&web, "/usr/bin/moved --version && /usr/bin/copied --version")?;
    // What is kept for a container ends with it.
    ensure!(kept(&node)? > 1, "nothing was kept");
    let memory = node.vm.sh("grep -E 'RssAnon|VmRSS' /proc/$(pidof kadapter-keeper)/status")?;
    measured(&format!(
        "the keeper's memory: {}",
        memory.split_whitespace().collect::<Vec<_>>().join(" ")
    ));
    web.delete()?;
    eventually("the keeper has closed the files", || Ok(kept(&node)? == 0))
}

/// How many descriptors the keeper has that name a file.
fn kept(node: &Node) -> Result<usize> {
    let list = "ls -l /proc/$(pidof kadapter-keeper)/fd | grep -c usr/bin/ || :";
    node.vm.sh(list)?.trim().parse().context("a number")
}

#[test]
fn what_the_host_puts_in_a_blocked_programs_place_is_blocked_too() -> Result<()> {
    let Some(node) = start("virtiofs-replaced")? else { return Ok(()) };
    let web = run_web(&node)?;
    on_host(&node, "ln usr/bin/apt usr/bin/old")?;
    block_apt(&node, &web)?;
    denied(&web, "/usr/bin/old --version")?;
    let inode = || -> Result<String> { Ok(sh(&web, "stat -c %i /usr/bin/apt")?.stdout.text()) };
    let before = inode()?;
    on_host(&node, "cp usr/bin/true usr/bin/new && mv usr/bin/new usr/bin/apt")?;
    eventually("the container sees the new file", || Ok(inode()? != before))?;
    denied(&web, "/usr/bin/apt")?;
    denied(&web, "/usr/bin/old --version")?;
    allowed(&web, "/usr/bin/true")?;
    drop_caches(&node)?;
    denied(&web, "/usr/bin/apt")?;
    denied(&web, "/usr/bin/old --version")?;

    node.remove("block.yaml")?;
    becomes_allowed(&web, "/usr/bin/apt && /usr/bin/old --version")
}

/// Blocks apt in a container whose image, hence the lower layer of the host's overlay, has it under
/// two names.
fn run_with_second_name(node: &Node) -> Result<Running<'_>> {
    node.vm.share()?.sh("cd ../../disk/lower/usr/bin && ln apt second")?;
    let web = run_web(node)?;
    allowed(&web, "/usr/bin/second --version")?;
    let block = block_program("no-apt", "nginx", "/usr/bin/apt");
    node.write("block.yaml", &at_level(&block, "contained"))?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    denied(&web, "/usr/bin/second --version")?;
    Ok(web)
}

#[test]
fn a_write_that_splits_a_hard_link_of_the_image_frees_no_copy() -> Result<()> {
    let Some(node) = start("virtiofs-split")? else { return Ok(()) };
    let web = run_with_second_name(&node)?;
    stays_blocked_after(&node, &web, ": >> /usr/bin/second")?;
    node.remove("block.yaml")?;
    becomes_allowed(&web, "/usr/bin/apt --version && /usr/bin/second --version")
}

/// If this is allowed, a name of apt is another inode from then on, with the same bytes.
fn stays_blocked_after(node: &Node, web: &Running<'_>, split: &str) -> Result<()> {
    sh(web, split)?;
    for _ in 0..2 {
        for name in ["apt", "second"] {
            denied(web, &format!("/usr/bin/{name} --version"))?;
        }
        drop_caches(node)?;
    }
    Ok(())
}

#[test]
fn a_change_of_mode_that_splits_a_hard_link_of_the_image_frees_no_copy() -> Result<()> {
    let Some(node) = start("virtiofs-split-mode")? else { return Ok(()) };
    let web = run_with_second_name(&node)?;
    allowed(&web, "chmod 0755 /usr/bin/apt-get && touch /usr/bin/apt-get")?;
    for split in ["chmod 0755", "chown 0", "touch"] {
        stays_blocked_after(&node, &web, &format!("{split} /usr/bin/second"))?;
    }
    node.event("a denied change", |event| {
        event["hook"] == "inode_setattr" && event["policyNames"] == json!(["no-apt"])
    })?;
    Ok(())
}
