// SPDX-License-Identifier: Apache-2.0
//! From the kernel's first process to a guest that containers can run in: root, mounts, modules,
//! control groups, loopback. Runs once, before any other process exists; also ends the VM.
//!
//! bpffs and securityfs stay unmounted unless `kadapter.mounts=all` is on the kernel's command
//! line: under a kata-agent that is PID 1 nobody mounts them, so the product's agent has to.

use std::convert::Infallible;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::{chdir, chroot, sync};

use crate::console;

/// Files of modules in the order of loading, one a line; absent with a kernel that needs none.
const MODULE_LIST: &str = "/modules/load.list";

/// Mounted on every boot: type, place, data.
const MOUNTS: [(&str, &str, &str); 7] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", "ptmxmode=0666"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=0755"),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

/// Mounted if the command line asks for it.
const MORE_MOUNTS: [(&str, &str, &str); 2] =
    [("bpf", "/sys/fs/bpf", "mode=0700"), ("securityfs", "/sys/kernel/security", "")];

/// Prepares the guest.
pub(crate) fn bring_up() -> Result<()> {
    leave_rootfs().context("leave the initial root")?;
    MOUNTS.iter().try_for_each(mount_one)?;
    let cmdline = fs::read_to_string("/proc/cmdline").context("read /proc/cmdline")?;
    if cmdline.split_whitespace().any(|word| word == "kadapter.mounts=all") {
        MORE_MOUNTS.iter().try_for_each(mount_one)?;
    }
    load_modules()?;
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu")
        .context("delegate the control groups' controllers")?;
    keep_namespaces().context("keep the namespaces of a sandbox")?;
    busybox(&["--install", "-s"]).context("link busybox's names")?;
    busybox(&["ip", "link", "set", "lo", "up"]).context("raise the loopback device")
}

/// The initial root can't be the target of `pivot_root`, because its mount has no parent. A bind
/// mount of it, moved over it, has one; nothing is copied.
/// <https://github.com/torvalds/linux/blob/v6.12/fs/namespace.c#L4453>
fn leave_rootfs() -> Result<()> {
    const NEW_ROOT: &str = "/newroot";
    fs::create_dir_all(NEW_ROOT)?;
    mount(Some("/"), NEW_ROOT, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    chdir(NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    chdir("/")?;
    Ok(fs::remove_dir(NEW_ROOT)?)
}

fn mount_one((kind, place, data): &(&str, &str, &str)) -> Result<()> {
    let attempt = || -> Result<()> {
        fs::create_dir_all(place)?;
        let flags = MsFlags::MS_NOSUID;
        Ok(mount(Some(*kind), *place, Some(*kind), flags, Some(*data))?)
    };
    attempt().with_context(|| format!("mount {kind} on {place}"))
}

/// As a kata-agent does for the containers of a pod: these mounts show roots that are no paths.
/// <https://github.com/kata-containers/kata-containers/blob/4.1.0/src/agent/src/namespace.rs>
fn keep_namespaces() -> Result<()> {
    const KEPT: &str = "/run/sandbox-ns";
    fs::create_dir(KEPT)?;
    for name in ["ipc", "uts"] {
        let (namespace, kept) = (format!("/proc/self/ns/{name}"), format!("{KEPT}/{name}"));
        File::create(&kept)?;
        mount(Some(&*namespace), &*kept, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    Ok(())
}

fn load_modules() -> Result<()> {
    if !Path::new(MODULE_LIST).exists() {
        return Ok(());
    }
    let list = fs::read_to_string(MODULE_LIST).with_context(|| format!("read {MODULE_LIST}"))?;
    for path in list.lines() {
        let load = || -> Result<()> {
            Ok(finit_module(File::open(path)?, c"", ModuleInitFlags::empty())?)
        };
        load().with_context(|| format!("load {path}"))?;
    }
    console::note(&format!("{} modules loaded", list.lines().count()));
    Ok(())
}

/// By itself, before the children's table exists; that sh is linked already is no error.
fn busybox(arguments: &[&str]) -> Result<()> {
    let output = Command::new("/bin/busybox").args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Ends the VM.
pub(crate) fn power_off() {
    sync();
    let Err(error): Result<Infallible, _> = reboot(RebootMode::RB_POWER_OFF);
    console::note(&format!("power off: {error}"));
}
