// SPDX-License-Identifier: Apache-2.0
//! Files of the host in the guest over virtio-fs, laid out as Kata does it.
//!
//! The daemon runs in a mount namespace of its own, in which everything is mounted that it shares:
//! however it ends, the mounts end with it, and the host's own namespace never has them. In it a
//! private copy of an image holds all that is behind the share, so that layers, volumes and files
//! lie in one ext4 as on a node:
//!
//! | directory | what |
//! |---|---|
//! | `disk/lower/` | the image's tree, the lower layer of every container's root |
//! | `disk/upper/ID/`, `disk/work/ID/` | what a container has written |
//! | `disk/volumes/NAME/` | directories that several containers may mount |
//! | `shared/passthrough/ID/rootfs` | a container's root: an overlay, announced as a submount |
//! | `shared/passthrough/NAME` | a volume: a directory is a submount, a file is none |
//!
//! In: an image, scripts to run as the host. Out: paths of the guest, below [`SHARED`]. Needs root,
//! loop devices and overlayfs; [`missing`] says whether they are there. Containers are
//! [`crate::rootfs`]'s.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use super::process::{Pause, TiedProcess, tied};

/// As Kata calls it: what a container has to know to mount it by itself.
pub(super) const TAG: &str = "kataShared";

/// Where the guest sees what is shared.
pub const SHARED: &str = "/run/kata-containers/shared/containers/passthrough";

/// $1 image, $2 directory, then the daemon's words. It gets the journal of an ordinary file system,
/// for without one ext4 gives no inode number again for minutes. What the image has goes below
/// `lower/`, for an overlay takes no upper layer that lies in its lower one.
const START: &str = r#"
mkdir -p "$2/disk" "$2/shared"
cp --sparse=always "$1" "$2/image"
tune2fs -O has_journal "$2/image" > /dev/null
mount -o loop "$2/image" "$2/disk"
cd "$2/disk"
mkdir .lower
mv -- * .lower
mv .lower lower
mkdir upper work volumes ../shared/passthrough
cd /
shift 2
exec "$@"
"#;

/// Files of the host that a guest has.
#[derive(Debug)]
pub struct Share {
    daemon: TiedProcess,
    directory: PathBuf,
}

/// What this host lacks to share a directory, if it lacks anything.
#[must_use]
pub fn missing() -> Option<&'static str> {
    let listed = |file: &str, word: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.split_whitespace().any(|found| found == word)
    };
    let root = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !root.lines().any(|line| line.starts_with("Uid:\t0\t0\t")) {
        return Some("the host's overlays need root");
    }
    if !listed("/proc/filesystems", "overlay") {
        return Some("the host's kernel has no overlayfs");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("the host has no loop devices");
    }
    None
}

/// The daemon, which starts with mounting what it shares. Kata's words, but for the sandbox: it
/// would be a second mount namespace, which the scripts of [`Share::sh`] could not reach.
pub(super) fn daemon(image: &Path, directory: &Path, socket: &Path) -> Result<Command> {
    let program = crate::tools::virtiofsd()?;
    let mut command = tied("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", START, "sh"]);
    command.arg(image).arg(directory).arg(program);
    command.arg("--shared-dir").arg(directory.join("shared"));
    command.arg("--socket-path").arg(socket);
    command.args(["--cache", "auto", "--announce-submounts", "--thread-pool-size", "1"]);
    command.args(["--sandbox", "none"]).env("PATH", path());
    Ok(command)
}

/// Script for the guest.
pub(super) fn mount_in_guest() -> String {
    let above = SHARED.trim_end_matches("/passthrough");
    format!("mkdir -p {above}\nmount -t virtiofs {TAG} {above}")
}

/// What mounts is not in an ordinary user's path.
fn path() -> String {
    format!("/usr/sbin:/sbin:{}", env::var("PATH").unwrap_or_default())
}

// === impl Share ===

impl Share {
    pub(super) fn new(daemon: TiedProcess, directory: PathBuf) -> Self {
        Self { daemon, directory }
    }

    /// Runs a script as the host, in `shared/passthrough/`, and returns its standard output.
    ///
    /// # Errors
    /// If it fails; the error then has what it printed.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.run(script, &[])
    }

    /// Makes an empty directory that containers may mount, and returns its path in the guest.
    ///
    /// # Errors
    /// If there is one of this name.
    pub fn volume(&self, name: &str) -> Result<String> {
        let script = r#"
            mkdir "../../disk/volumes/$1" "$1"
            mount --bind "../../disk/volumes/$1" "$1"
        "#;
        self.run(script, &[name.as_ref()])?;
        Ok(format!("{SHARED}/{name}"))
    }

    /// Makes a file that containers may mount, and returns its path in the guest.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        self.run(r#"printf %s "$2" > "$1""#, &[name.as_ref(), text.as_ref()])?;
        Ok(format!("{SHARED}/{name}"))
    }

    /// Stops the daemon until what is returned is dropped: what the guest asks of its files hangs.
    ///
    /// # Errors
    /// If it is gone.
    pub fn pause(&self) -> Result<Pause> {
        Pause::of(self.daemon.child().id())
    }

    /// Makes the root of a container, and returns its path in the guest.
    pub(crate) fn root(&self, id: &str) -> Result<String> {
        let script = r#"
            cd ../../disk
            mkdir "upper/$1" "work/$1" "../shared/passthrough/$1" "../shared/passthrough/$1/rootfs"
            mount -t overlay -o "lowerdir=lower,upperdir=upper/$1,workdir=work/$1" overlay \
                "../shared/passthrough/$1/rootfs"
        "#;
        self.run(script, &[id.as_ref()])?;
        Ok(format!("{SHARED}/{id}/rootfs"))
    }

    /// Removes the root of a container.
    pub(crate) fn remove_root(&self, id: &str) -> Result<()> {
        let script = r#"
            umount --lazy "$1/rootfs"
            rm -r "$1" "../../disk/upper/$1" "../../disk/work/$1"
        "#;
        self.run(script, &[id.as_ref()]).map(drop)
    }

    fn run(&self, script: &str, args: &[&OsStr]) -> Result<String> {
        let pid = self.daemon.child().id();
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{pid}/ns/mnt")).args(["sh", "-euc"]);
        command.arg(format!("cd \"$0\"\n{script}"));
        command.arg(self.directory.join("shared/passthrough")).args(args).env("PATH", path());
        let output = command.output().context("run nsenter")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "on the host: {script}: {}: {}",
            output.status,
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }
}
