// SPDX-License-Identifier: Apache-2.0
//! Containers on virtio-fs behave as in Kata: a super block each, and a host that has its own mind.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use e2e::rootfs::{Container, Rootfs, Running, debian_share};
use e2e::suites::skipped;
use e2e::vm::{Vm, VmConfig, missing_for_share};

/// A VM with a share, where the host can make one.
fn boot(name: &str) -> Result<Option<Vm>> {
    if let Some(lack) = missing_for_share() {
        skipped(lack);
        return Ok(None);
    }
    let config = VmConfig { share: Some(debian_share()?), ..VmConfig::new(name) };
    Vm::boot(&config).map(Some)
}

fn must(container: &Running<'_>, script: &str) -> Result<String> {
    let output = container.exec(&["sh", "-euc", script])?;
    ensure!(output.success(), "{script}: {}", output.stderr.text());
    Ok(output.stdout.text().trim().to_owned())
}

#[test]
fn containers_on_virtiofs_have_super_blocks_of_their_own_and_share_volumes() -> Result<()> {
    let Some(vm) = boot("rig-virtiofs")? else { return Ok(()) };
    let share = vm.share()?;
    let (volume, file) = (share.volume("vol")?, share.file("file", "text")?);
    let run = |id| {
        let container = Container::new(id, Rootfs::DebianVirtiofs);
        container.bind(&volume, "/data").bind(&file, "/etc/single").run(&vm)
    };
    let (a, b) = (run("a")?, run("b")?);
    for container in [&a, &b] {
        assert_eq!(must(container, "stat -f -c %T / /data")?, "fuseblk\nfuseblk");
        assert_eq!(must(container, "cat /etc/single")?, "text");
    }
    let device = |container, path: &str| must(container, &format!("stat -c %d {path}"));
    assert_ne!(device(&a, "/")?, device(&b, "/")?, "a super block each");
    let single = device(&a, "/etc/single")?;
    assert_eq!(single, device(&b, "/etc/single")?, "a file is no mount of its own on the host");

    must(&a, "echo one > /data/x && rm /usr/bin/apt && echo text > /new")?;
    assert_eq!(must(&b, "cat /data/x && test -e /usr/bin/apt && test ! -e /new")?, "one");
    assert_eq!(share.sh("cat vol/x a/rootfs/new")?, "one\ntext\n");
    share.sh("mv vol/x vol/y && mv a/rootfs/new a/rootfs/old")?;
    assert_eq!(must(&a, "cat /data/y /old")?, "one\ntext");
    a.delete()?;
    assert_eq!(share.sh("ls a 2> /dev/null || echo gone")?, "gone\n");
    assert_eq!(must(&b, "cat /data/y")?, "one");
    Ok(())
}

#[test]
fn the_hosts_own_namespace_never_has_the_mounts_of_a_share() -> Result<()> {
    let Some(vm) = boot("rig-virtiofs-mounts")? else { return Ok(()) };
    let scratch = vm.hvsock().parent().context("a directory")?.display().to_string();
    let container = Container::new("one", Rootfs::DebianVirtiofs).run(&vm)?;
    let mounts = vm.share()?.sh("cat /proc/self/mounts")?;
    let root = format!("overlay {scratch}/share/shared/passthrough/one/rootfs overlay");
    assert!(mounts.contains(&root), "{mounts}");
    assert!(!fs::read_to_string("/proc/self/mounts")?.contains(&scratch));
    // Nobody tidies up, as if the test had failed here.
    drop(container);
    let is_of_share = |file: &String| file.starts_with(&scratch);
    assert!(backing_files()?.iter().any(is_of_share));
    drop(vm);
    assert!(!fs::read_to_string("/proc/self/mounts")?.contains(&scratch));
    assert!(!backing_files()?.iter().any(is_of_share), "a loop device is left");
    Ok(())
}

/// Files behind the host's loop devices.
pub(crate) fn backing_files() -> Result<Vec<String>> {
    let devices = fs::read_dir("/sys/block").context("list the block devices")?;
    let file =
        |device: fs::DirEntry| fs::read_to_string(device.path().join("loop/backing_file")).ok();
    Ok(devices.flatten().filter_map(file).collect())
}
