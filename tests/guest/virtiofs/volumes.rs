// SPDX-License-Identifier: Apache-2.0
//! Volumes: a directory is a super block of its own in each container, a single file lies on the
//! super block that all containers share; rules name both as the container does.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, eventually},
    rootfs::{Rootfs, Running},
};

use super::{drop_caches, start};
use crate::{
    files::file_policy,
    steps::{
        allowed, at_level, becomes_allowed, becomes_denied, block_program, denied, event_on, sh,
    },
};

/// A container `web` for `nginx` and a container `other` for that label, with one volume at /data
/// and one file at /etc/single.
pub(super) fn two<'a>(node: &'a Node, app: &str) -> Result<(Running<'a>, Running<'a>)> {
    let share = node.vm.share()?;
    let (volume, file) = (share.volume("vol")?, share.file("single", "text")?);
    node.pod("web", "nginx")?;
    node.pod("other", app)?;
    let run = |pod| {
        let container = Node::container(pod, Rootfs::DebianVirtiofs);
        container.bind(&volume, "/data").bind(&file, "/etc/single").run(&node.vm)
    };
    Ok((run("web")?, run("other")?))
}

#[test]
fn a_rule_on_a_volume_holds_in_every_container_that_it_is_for() -> Result<()> {
    let Some(node) = start("virtiofs-volume")? else { return Ok(()) };
    let (web, other) = two(&node, "nginx")?;
    let (read, run) = ("cat /data/dir/secret", "/data/tool");
    allowed(&web, "mkdir /data/dir && echo text > /data/dir/secret && cp /bin/true /data/tool")?;
    for container in [&web, &other] {
        allowed(container, &format!("{read} && {run}"))?;
    }

    node.write("files.yaml", &file_policy("matchPaths", &["path: /data/dir/secret"], "Block"))?;
    node.write("tool.yaml", &block_program("no-tool", "nginx", "/data/tool"))?;
    for container in [&web, &other] {
        becomes_denied(container, read)?;
        becomes_denied(container, run)?;
        denied(container, "cd /data && cat ./dir/../dir/secret")?;
    }
    event_on(&node, "/data/dir/secret", "Block")?;
    // What was blocked in one container is, under a name that the host gives it, in both.
    node.vm.share()?.sh("mv vol/tool vol/moved")?;
    for container in [&web, &other] {
        becomes_denied(container, "/data/moved")?;
    }
    node.remove("files.yaml")?;
    node.remove("tool.yaml")?;
    for container in [&web, &other] {
        becomes_allowed(container, read)?;
        becomes_allowed(container, "/data/moved")?;
    }
    files_that_do_not_answer_keep_no_other_container_out(&node, &web, read)
}

/// What the agent asks of one container's files hangs; the gate is there for the others.
fn files_that_do_not_answer_keep_no_other_container_out<'a>(
    node: &'a Node,
    web: &Running<'a>,
    read: &str,
) -> Result<()> {
    // So that each name is asked of the host anew.
    drop_caches(node)?;
    let silence = node.vm.share()?.pause()?;
    let sent = || node.relay_log().all().iter().filter(|line| line.contains("\"sending\"")).count();
    let before = sent();
    // By name alone: files are not searched for beforehand.
    let policy = file_policy("matchPaths", &["path: /data/dir/secret"], "Block");
    node.write("files.yaml", &at_level(&policy, "literal"))?;
    eventually("the rule sets are on their way", || Ok(sent() > before))?;
    node.pod("late", "redis")?;
    let late = Node::container("late", Rootfs::Busybox).run(&node.vm)?;
    allowed(&late, "/bin/true")?;
    drop(silence);
    becomes_denied(web, read)
}

#[test]
fn a_volume_that_the_guest_has_touched_is_one_super_block_and_has_the_rules_of_each() -> Result<()>
{
    let Some(node) = start("virtiofs-touched")? else { return Ok(()) };
    let share = node.vm.share()?;
    let volume = share.volume("vol")?;
    share.sh("echo text > vol/one; echo other > vol/two")?;
    node.vm.sh(&format!("cat {volume}/one"))?;
    node.pod("web", "nginx")?;
    node.pod("other", "redis")?;
    let run =
        |pod, at| Node::container(pod, Rootfs::DebianVirtiofs).bind(&volume, at).run(&node.vm);
    let (web, other) = (run("web", "/data")?, run("other", "/srv/data")?);
    let device = |container, path| -> Result<String> {
        Ok(sh(container, &format!("stat -c %d {path}"))?.stdout.text())
    };
    ensure!(device(&web, "/data")? == device(&other, "/srv/data")?, "two super blocks");

    node.write("files.yaml", &file_policy("matchPaths", &["path: /data/one"], "Block"))?;
    becomes_denied(&web, "cat /data/one")?;
    allowed(&web, "cat /data/two")?;
    allowed(&other, "cat /srv/data/one /srv/data/two")?;
    ensure!(node.vm.sh(&format!("cat {volume}/one"))? == "text\n", "the guest's own access");
    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /data/one")
}

#[test]
fn a_rule_on_a_volume_of_one_file_holds_in_every_container_that_it_is_for() -> Result<()> {
    let Some(node) = start("virtiofs-file-volume")? else { return Ok(()) };
    let (web, other) = two(&node, "nginx")?;
    for container in [&web, &other] {
        allowed(container, "cat /etc/single")?;
    }
    node.write("files.yaml", &file_policy("matchPaths", &["path: /etc/single"], "Block"))?;
    for container in [&web, &other] {
        becomes_denied(container, "cat /etc/single")?;
        denied(container, "echo more >> /etc/single")?;
        allowed(container, "cat /etc/passwd")?;
    }
    event_on(&node, "/etc/single", "Block")?;
    // The directory that it is mounted in speaks of it too.
    node.write("files.yaml", &file_policy("matchDirectories", &["dir: /etc/"], "Block"))?;
    for container in [&web, &other] {
        becomes_denied(container, "cat /etc/hostname")?;
        denied(container, "cat /etc/single")?;
    }
    // The host's change of the content is none of the name.
    node.vm.share()?.sh("printf more > single")?;
    denied(&web, "cat /etc/single")?;
    node.remove("files.yaml")?;
    for container in [&web, &other] {
        becomes_allowed(container, "cat /etc/single")?;
    }
    Ok(())
}
