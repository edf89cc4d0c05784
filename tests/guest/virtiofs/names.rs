// SPDX-License-Identifier: Apache-2.0
//! Rules by name: the verdict follows the name that a file has now, whoever moved it there.

use anyhow::{Result, ensure};
use e2e::rootfs::Running;

use super::{drop_caches, on_host, run_web, start};
use crate::{
    files::{PLANT, file_policy},
    steps::{
        allowed, at_level, becomes_allowed, becomes_denied, block_program, denied, event_on,
        policy, sh,
    },
    takeover::{kill_agent, restart_agent},
};

/// Blocks everything below /srv/tree.
fn block_tree() -> String {
    file_policy("matchDirectories", &["{dir: /srv/tree/, recursive: true}"], "Block")
}

#[test]
fn rules_by_name_hold_on_a_virtiofs_root_and_need_neither_caches_nor_an_agent() -> Result<()> {
    let Some(node) = start("virtiofs-name")? else { return Ok(()) };
    let web = run_web(&node)?;
    let (read, run) = ("cat /srv/tree/sub/file", "/usr/bin/apt --version");
    allowed(&web, &format!("{PLANT} && {read} && {run}"))?;

    node.write("files.yaml", &block_tree())?;
    let apt = block_program("no-apt", "nginx", "/usr/bin/apt");
    node.write("apt.yaml", &at_level(&apt, "literal"))?;
    becomes_denied(&web, read)?;
    becomes_denied(&web, run)?;
    ensure!(event_on(&node, "/srv/tree/sub/file", "Block")?["hook"] == "file_open");
    ensure!(event_on(&node, "/usr/bin/apt", "Block")?["hook"] == "bprm_check_security");
    let still = || -> Result<()> {
        denied(&web, read)?;
        denied(&web, run)?;
        allowed(&web, "cat /etc/passwd && /usr/bin/apt-get --version && ls /srv")
    };
    drop_caches(&node)?;
    still()?;
    kill_agent(&node)?;
    still()?;
    drop_caches(&node)?;
    still()?;
    restart_agent(&node)?;
    still()?;

    node.remove("files.yaml")?;
    node.remove("apt.yaml")?;
    becomes_allowed(&web, read)?;
    becomes_allowed(&web, run)
}

#[test]
fn what_the_host_moves_is_judged_by_its_new_name() -> Result<()> {
    let Some(node) = start("virtiofs-host-moves")? else { return Ok(()) };
    let web = run_web(&node)?;
    allowed(&web, PLANT)?;
    allowed(&web, "mkdir -p /srv/free/dir && echo text | tee /srv/free/file /srv/free/dir/file")?;

    node.write("files.yaml", &block_tree())?;
    becomes_denied(&web, "cat /srv/tree/file")?;
    for (there, name, back) in [
        ("mv srv/free/file srv/tree/in", "/srv/tree/in", "mv srv/tree/in srv/free/file"),
        ("mv srv/free/dir srv/tree/in", "/srv/tree/in/file", "mv srv/tree/in srv/free/dir"),
        ("ln srv/free/file srv/tree/in", "/srv/tree/in", "rm srv/tree/in"),
    ] {
        keeps(&web, &["/srv/free/file", "/srv/free/dir/file"])?;
        on_host(&node, there)?;
        becomes_denied(&web, &format!("cat {name}"))?;
        on_host(&node, back)?;
        becomes_allowed(&web, "cat /srv/free/file /srv/free/dir/file")?;
    }
    on_host(&node, "mv srv/tree/file srv/free/out && mv srv/tree/sub srv/free/sub")?;
    becomes_allowed(&web, "cat /srv/free/out")?;
    becomes_allowed(&web, "cat /srv/free/sub/file /srv/free/sub/deep/file")?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, "ls /srv/tree")
}

/// Reads files again and again, so that whatever is kept of them is kept.
fn keeps(web: &Running<'_>, files: &[&str]) -> Result<()> {
    let files = files.join(" ");
    allowed(web, &format!("cat {files} && cat {files} && cat {files}"))
}

#[test]
fn what_another_container_moves_in_a_volume_is_judged_by_its_new_name() -> Result<()> {
    let Some(node) = start("virtiofs-other-moves")? else { return Ok(()) };
    let (web, other) = super::volumes::two(&node, "redis")?;
    allowed(&other, "mkdir /data/tree /data/free && echo text | tee /data/tree/a /data/free/b")?;
    keeps(&web, &["/data/tree/a", "/data/free/b"])?;

    let block = file_policy("matchDirectories", &["{dir: /data/tree/, recursive: true}"], "Block");
    node.write("files.yaml", &block)?;
    becomes_denied(&web, "cat /data/tree/a")?;
    keeps(&web, &["/data/free/b"])?;
    // A task of the other container is under no rule, and its rename on another super block.
    allowed(&other, "mv /data/free/b /data/tree/b && mv /data/tree/a /data/free/a")?;
    becomes_denied(&web, "cat /data/tree/b")?;
    becomes_allowed(&web, "cat /data/free/a")?;
    allowed(&other, "cat /data/tree/b")?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /data/tree/b")
}

#[test]
fn a_whitelist_holds_for_what_the_host_brings() -> Result<()> {
    let Some(node) = start("virtiofs-whitelist")? else { return Ok(()) };
    let web = run_web(&node)?;
    allowed(&web, PLANT)?;
    node.write("block.yaml", &policy("strict", "nginx", STRICT))?;
    becomes_denied(&web, "/usr/bin/id")?;
    // Where the host puts a program makes it allowed or not.
    on_host(&node, "cp usr/bin/id srv/tree/id && mkdir opt/bin && cp usr/bin/id opt/bin/id")?;
    becomes_allowed(&web, "/opt/bin/id")?;
    denied(&web, "/srv/tree/id")?;
    on_host(&node, "mv opt/bin/id srv/tree/id2 && mv srv/tree/id opt/bin/id3")?;
    becomes_allowed(&web, "/opt/bin/id3")?;
    becomes_denied(&web, "/srv/tree/id2")?;
    node.remove("block.yaml")?;
    becomes_allowed(&web, "/usr/bin/id && /srv/tree/id2")?;
    ensure!(sh(&web, "test -e /opt/bin/id")?.end.to_string().contains('1'), "moved away");
    Ok(())
}

/// The shell, what the tests need, and one directory.
const STRICT: &str = "process:\n  matchPaths:\n  - path: /usr/bin/dash\n  matchDirectories:\n  \
                      - dir: /opt/bin/\naction: Allow";
