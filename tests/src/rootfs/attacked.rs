// SPDX-License-Identifier: Apache-2.0
//! Roots to attack: a small image whose programs the driver `attack` makes itself, on whichever file
//! system. In: a [`Medium`]. Out: what a VM needs for it, and the script that makes a container's
//! root. One VM has one of them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::{env, fmt};

use anyhow::{Context as _, Result, ensure};
use attacks::places::LOADER;
use serde::{Deserialize, Serialize};

use super::{debian, with_disk};
use crate::cache::{self, Inputs};
use crate::step::step;
use crate::vm::{Disk, GuestFile, guest_tools, static_program, target_directory};

/// The driver in the guest, where it lays down images.
const DRIVER: &str = "/usr/bin/attack";

const DISK: &str = "attacked";

/// Room for some images and for what is written in them.
const BLANK: &str = "mke2fs -q -t ext4 \"$1\" 64M";

/// $1 driver, $2 directory with the guest's tools
const PACK: &str = r#"
mkdir "$2/root"
"$1" image "$2/root" --busybox "$2/busybox" --loader "$2/loader"
mke2fs -q -t ext4 -d "$2/root" "$2/image.ext4" 64M
"#;

/// The file system of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// A tmpfs of the container's own.
    Tmpfs,
    /// An ext4, for one container at a time.
    Ext4,
    /// An overlay, its layers on one ext4, for one container at a time.
    Overlay1,
    /// An overlay, the lower layer on an ext4, for one container at a time, the upper one in tmpfs.
    Overlay2,
    /// An overlay of the host behind virtio-fs.
    Virtiofs,
}

/// A name that no medium has.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no root is called `{0}`")]
pub struct UnknownMedium(String);

// === impl Medium ===

impl Medium {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Tmpfs, Self::Ext4, Self::Overlay1, Self::Overlay2, Self::Virtiofs];

    /// Its name in tables, on the command line, and in cases.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Ext4 => "ext4",
            Self::Overlay1 => "overlay1",
            Self::Overlay2 => "overlay2",
            Self::Virtiofs => "virtiofs",
        }
    }

    /// Files that a VM needs for such roots.
    ///
    /// # Errors
    /// If the driver does not compile.
    pub fn files(self) -> Result<Vec<GuestFile>> {
        Ok(vec![GuestFile::program(DRIVER, driver()?)])
    }

    /// Disks that a VM needs for such roots.
    ///
    /// # Errors
    /// If one cannot be made.
    pub fn disks(self) -> Result<Vec<Disk>> {
        match self {
            Self::Tmpfs | Self::Virtiofs => Ok(Vec::new()),
            Self::Ext4 | Self::Overlay1 | Self::Overlay2 => {
                Ok(vec![Disk { image: blank()?, serial: DISK.to_owned() }])
            }
        }
    }

    /// The image that a VM shares with its host for such roots, if they need one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn share(self) -> Result<Option<PathBuf>> {
        (self == Self::Virtiofs).then(packed).transpose()
    }

    /// Makes a root at `$root` with room at `$bundle`; none for what the host makes.
    pub(super) fn script(self) -> String {
        match self {
            Self::Tmpfs | Self::Virtiofs => TMPFS.to_owned(),
            Self::Ext4 => with_disk(DISK, EXT4),
            Self::Overlay1 => with_disk(DISK, OVERLAY1),
            Self::Overlay2 => with_disk(DISK, OVERLAY2),
        }
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Medium {
    type Err = UnknownMedium;

    fn from_str(name: &str) -> Result<Self, UnknownMedium> {
        let found = Self::ALL.into_iter().find(|medium| medium.name() == name);
        found.ok_or_else(|| UnknownMedium(name.to_owned()))
    }
}

fn driver() -> Result<PathBuf> {
    static_program("attacks", "attack")
}

/// An empty ext4, as mke2fs makes it.
fn blank() -> Result<PathBuf> {
    let inputs = Inputs::new().bytes("blank", BLANK);
    let entry = cache::get_or_make("rootfs", &inputs, |entry| {
        step("make an empty disk", |step| {
            let mut sh = Command::new("sh");
            sh.args(["-euc", BLANK, "sh"]).arg(entry.join("blank.ext4"));
            step.run(sh.env("PATH", path()))
        })
    })?;
    Ok(entry.join("blank.ext4"))
}

/// The image as an ext4. Not cached: it has the driver in it, and takes a fraction of a second.
fn packed() -> Result<PathBuf> {
    let work = tempfile::tempdir().context("make a directory")?;
    for (name, place) in [("busybox", "/bin/busybox"), ("loader", LOADER)] {
        fs::write(work.path().join(name), guest_tools::file(place)?).context("unpack")?;
    }
    let mut pack = debian::as_root("sh")?;
    pack.args(["-euc", PACK, "sh"]).arg(driver()?).arg(work.path());
    let output = pack.env("PATH", path()).output().context("run sh")?;
    ensure!(output.status.success(), "pack: {}", String::from_utf8_lossy(&output.stderr));
    let kept = target_directory().join("guest/attacked.ext4");
    let mine = kept.with_extension(format!("{}", std::process::id()));
    fs::copy(work.path().join("image.ext4"), &mine)
        .with_context(|| format!("copy to {}", mine.display()))?;
    // Another process may make the same one.
    fs::rename(&mine, &kept).with_context(|| format!("rename to {}", kept.display()))?;
    Ok(kept)
}

/// mke2fs is not in an ordinary user's path.
fn path() -> String {
    format!("/usr/sbin:/sbin:{}", env::var("PATH").unwrap_or_default())
}

const TMPFS: &str = "
mount -t tmpfs attacked $root
attack image $root
";

const EXT4: &str = "
mount -t ext4 $device $root
rm -rf $root/*
attack image $root
";

/// Without an index, as runtimes mount it: a lower file of several names then gets another inode
/// once it is changed.
const OVERLAY1: &str = "
mkdir -p $bundle/disk
mount -t ext4 $device $bundle/disk
rm -rf $bundle/disk/*
mkdir $bundle/disk/lower $bundle/disk/upper $bundle/disk/work
attack image $bundle/disk/lower
cd $bundle/disk
mount -t overlay -o index=off,metacopy=off,lowerdir=lower,upperdir=upper,workdir=work attacked $root
";

const OVERLAY2: &str = "
mkdir -p $bundle/lower $bundle/upper $bundle/work
mount -t ext4 $device $bundle/lower
rm -rf $bundle/lower/*
attack image $bundle/lower
cd $bundle
mount -t overlay -o index=off,metacopy=off,lowerdir=lower,upperdir=upper,workdir=work attacked $root
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_found_by_their_names() {
        for medium in Medium::ALL {
            assert_eq!(medium.name().parse::<Medium>().unwrap(), medium);
        }
        assert!("overlay".parse::<Medium>().is_err());
    }
}
