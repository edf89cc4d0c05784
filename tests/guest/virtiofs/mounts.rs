// SPDX-License-Identifier: Apache-2.0
//! Super blocks that no container was given: the share itself, mounted by its tag, and what the
//! host mounts later.

use anyhow::{Result, ensure};
use e2e::{
    node::Node,
    rootfs::{Capabilities, Container, Rootfs, Running, debian_share},
    vm::{Vm, VmConfig},
};

use super::{on_host, run_web, start};
use crate::{
    files::{PLANT, file_policy},
    steps::{allowed, becomes_allowed, becomes_denied, denied, sh},
};

/// Ways to mount what Kata shares with the guest: mount(2), and a context that is never attached.
/// What comes is the newest super block of the device, whosever it is. The numbers are fsopen(2),
/// fsconfig(2) with FSCONFIG_SET_STRING and FSCONFIG_CMD_CREATE.
const WAYS: [&str; 2] = [
    "mount -t virtiofs kataShared /mnt && cat /mnt/secret && umount /mnt",
    r#"perl -e 'my ($type, $key, $tag) = ("virtiofs", "source", "kataShared");
        my $fd = syscall(430, $type, 0); die "fsopen: $!" if $fd < 0;
        syscall(431, $fd, 1, $key, $tag, 0) == 0 or die "fsconfig: $!";
        syscall(431, $fd, 6, 0, 0, 0) == 0 or die "create: $!"'"#,
];

/// A container with all capabilities, and one of another pod that starts later and has a secret.
fn run_beside_secret<'a>(
    vm: &'a Vm,
    new: impl Fn(&str) -> Container,
) -> Result<(Running<'a>, Running<'a>)> {
    let web = new("web").capabilities(Capabilities::All).run(vm)?;
    let other = new("other").run(vm)?;
    allowed(&other, "echo secret > /secret")?;
    Ok((web, other))
}

#[test]
fn no_container_mounts_the_share_of_all_pods_by_its_tag() -> Result<()> {
    let Some(node) = start("virtiofs-tag")? else { return Ok(()) };
    // Without the product it shows what another pod has.
    let config =
        VmConfig { share: Some(debian_share()?), ..VmConfig::new("virtiofs-tag-unprotected") };
    let bare = Vm::boot(&config)?;
    let unprotected = |id: &str| Container::new(id, Rootfs::DebianVirtiofs);
    let (web, _other) = run_beside_secret(&bare, unprotected)?;
    for way in WAYS {
        allowed(&web, way)?;
    }

    node.pod("web", "nginx")?;
    node.pod("other", "redis")?;
    let protected = |pod: &str| Node::container(pod, Rootfs::DebianVirtiofs);
    let (web, _other) = run_beside_secret(&node.vm, protected)?;
    for way in WAYS {
        refused(&web, way)?;
    }
    // Other file systems are no way to the share, and the guest's own mounts are its own business.
    allowed(&web, "mount -t tmpfs none /mnt && umount /mnt")?;
    node.vm.sh("mkdir -p /tmp/m && mount -t virtiofs kataShared /tmp/m && umount /tmp/m")?;
    Ok(())
}

/// Fails with EPERM or EACCES, however the program words it.
fn refused(container: &Running<'_>, script: &str) -> Result<()> {
    let output = sh(container, script)?;
    let text = output.stderr.text().to_lowercase();
    let is_refusal =
        ["not permitted", "permission denied"].iter().any(|words| text.contains(words));
    ensure!(!output.success() && is_refusal, "`{script}`: {}: {text}", output.end);
    Ok(())
}

#[test]
fn what_the_host_mounts_over_a_ruled_directory_is_no_way_around_the_rule() -> Result<()> {
    let Some(node) = start("virtiofs-late-mount")? else { return Ok(()) };
    let share = node.vm.share()?;
    share.volume("vol")?;
    share.sh("echo text | tee vol/file")?;
    let web = run_web(&node)?;
    allowed(&web, PLANT)?;
    let block = file_policy("matchDirectories", &["{dir: /srv/tree/, recursive: true}"], "Block");
    node.write("files.yaml", &block)?;
    becomes_denied(&web, "cat /srv/tree/file")?;
    // A submount of the share becomes a super block of its own in the guest when it is entered.
    on_host(&node, "mkdir srv/tree/late && mount --bind ../../vol srv/tree/late")?;
    becomes_denied(&web, "cat /srv/tree/late/file")?;
    denied(&web, "cat /srv/tree/late/file")?;
    denied(&web, "ls /srv/tree/late")?;
    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /srv/tree/sub/file")
}
