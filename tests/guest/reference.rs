// SPDX-License-Identifier: Apache-2.0
//! Reference enforcers deny what their peers deny, and no more: without that, the tables that compare
//! with them say nothing. The whole matrix is `cargo xtask eval bypass`'s.

use anyhow::Result;
use e2e::reference::{Enforcer, Logic};
use e2e::rootfs::{Capabilities, Container, Rootfs, Running};
use e2e::vm::{Vm, VmConfig};

use crate::steps::{allowed, denied};

/// A program with an inode of its own, which works under any name that begins with `busybox`.
const TARGET: &str = "/usr/bin/busybox-target";
const PREPARE: &str = "mkdir -p /mnt; rm -rf /tmp/* && cp /bin/busybox /usr/bin/busybox-target";

/// Ways to run it.
const DIRECT: &str = "/usr/bin/busybox-target true";
const MOVED: &str = "mv /usr/bin/busybox-target /tmp/busybox-x; /tmp/busybox-x true";
const LINKED: &str = "ln /usr/bin/busybox-target /tmp/busybox-x; /tmp/busybox-x true";
const COPIED: &str = "cp /usr/bin/busybox-target /tmp/busybox-x; /tmp/busybox-x true";
const PARENT_MOVED: &str =
    "mv /usr/bin /usr/bin2; trap 'mv /usr/bin2 /usr/bin' EXIT; /usr/bin2/busybox-target true";
const BOUND: &str = "mount --bind /usr/bin /mnt; trap 'umount /mnt' EXIT; /mnt/busybox-target true";
const CHROOTED: &str = "chroot /usr /bin/busybox-target true";
const UNSHARED: &str = "unshare -m /usr/bin/busybox-target true";

/// Of each column, ways that tell it from the others: those that get through, those that do not.
const COLUMNS: [(&str, &[&str], &[&str]); 5] = [
    ("P", &[MOVED, UNSHARED], &[DIRECT, CHROOTED]),
    ("P'", &[MOVED, CHROOTED], &[DIRECT, UNSHARED]),
    ("K", &[PARENT_MOVED, BOUND], &[DIRECT, MOVED, LINKED, COPIED]),
    ("K2", &[MOVED, LINKED], &[COPIED]),
    ("K+", &[], &[PARENT_MOVED, BOUND, UNSHARED]),
];

#[test]
fn reference_enforcers_deny_what_their_peers_do() -> Result<()> {
    let vm = vm("reference")?;
    let container = container(&vm, "one")?;
    for way in [DIRECT, MOVED, LINKED, COPIED, PARENT_MOVED, BOUND, CHROOTED, UNSHARED] {
        go(&vm, &container, way, allowed)?;
    }
    for (column, get_through, are_denied) in COLUMNS {
        prepare(&vm, &container)?;
        let enforcer = Enforcer::start(&vm, Logic::Column(column, &[TARGET]), &container)?;
        for way in are_denied {
            go(&vm, &container, way, denied)?;
        }
        for way in get_through {
            go(&vm, &container, way, allowed)?;
        }
        enforcer.stop()?;
        go(&vm, &container, DIRECT, allowed)?;
    }
    Ok(())
}

#[test]
fn reference_enforcers_take_rules_and_concern_one_container() -> Result<()> {
    let vm = vm("reference-rules")?;
    let (one, other) = (container(&vm, "one")?, container(&vm, "other")?);
    allowed(&one, "mkdir -p /srv/a/b; echo x > /srv/f; echo x > /srv/a/f; echo x > /srv/a/b/f")?;
    let rules = ["open=/srv/a/*", "mkdir=/srv/**", "exec=/bin/busybox-not-there"];
    let rules = rules.map(str::to_owned);
    let logic = Logic::Rules { subject: "cgroup", paths: "task-root", rules: &rules };
    let enforcer = Enforcer::start(&vm, logic, &one)?;
    denied(&one, "cat /srv/a/f")?;
    denied(&one, "ls /srv/a")?;
    allowed(&one, "cat /srv/f /srv/a/b/f && rm /srv/a/f")?;
    denied(&one, "mkdir /srv/a/b/c")?;
    allowed(&other, "mkdir -p /srv/a/b/c")?;
    enforcer.stop()?;
    allowed(&one, "ls /srv/a && mkdir /srv/a/b/c")
}

fn vm(name: &str) -> Result<Vm> {
    Vm::boot(&VmConfig { files: vec![Enforcer::file()?], ..VmConfig::new(name) })
}

fn container<'vm>(vm: &'vm Vm, id: &str) -> Result<Running<'vm>> {
    Container::new(id, Rootfs::Busybox).capabilities(Capabilities::All).run(vm)
}

fn go(
    vm: &Vm,
    container: &Running<'_>,
    way: &str,
    judge: fn(&Running<'_>, &str) -> Result<()>,
) -> Result<()> {
    prepare(vm, container)?;
    judge(container, &format!("set -e; {way}"))
}

/// From outside, where no rule holds.
fn prepare(vm: &Vm, container: &Running<'_>) -> Result<()> {
    let root = container.bundle().root();
    vm.must(&["chroot", &root, "/bin/sh", "-c", PREPARE]).map(drop)
}
