// SPDX-License-Identifier: Apache-2.0
//! Debian root file systems as ext4 images, kept in the cache. In: which one, and the mirror that
//! the packages come from. Out: the image's path, and scripts that make a container's root of a disk
//! with the image. Needs mmdebstrap and, unless run by root, fakeroot.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt;
use crate::cache::{self, Inputs};
use crate::step::{Step, step};

const SUITE: &str = "bookworm";

/// The image's name, in the cache and nowhere else.
const IMAGE: &str = "debian.ext4";

/// What a Debian root file system has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Image {
    /// Essential packages and apt.
    #[default]
    Minimal,
    /// What workloads of servers need too, and an archive to install packages from.
    Workloads,
}

/// Added for [`Image::Workloads`]; `nodejs` has the compiler that runs as it goes.
const SERVERS: &str = "nginx-light,python3-minimal,nodejs,vim-tiny,logrotate,netcat-openbsd";

const FURNISH: &str = include_str!("workloads.sh");

/// Half of the image: nobody reads this in a test, and less to write is less to wait for.
const TRIM: &str = r#"cd "$1/usr/share" && rm -rf doc man locale info lintian"#;

/// Without a journal, which costs time and protects nothing in an image that is never written.
const PACK: &str = r#"mkdir "$1/root" && tar --extract --numeric-owner --file "$1/root.tar" \
    --directory "$1/root" && mke2fs -q -t ext4 -O ^has_journal -d "$1/root" "$2" 512M"#;

// === impl Image ===

impl Image {
    /// The image, made if it is not in the cache.
    pub(super) fn path(self) -> Result<PathBuf> {
        let mut inputs =
            Inputs::new().bytes("suite", SUITE).bytes("trim", TRIM).bytes("pack", PACK);
        for argument in self.arguments() {
            inputs = inputs.bytes("argument", argument);
        }
        let entry = cache::get_or_make("rootfs", &inputs, |entry| {
            step(self.title(), |step| self.make(step, entry))
        })?;
        Ok(entry.join(IMAGE))
    }

    fn title(self) -> &'static str {
        match self {
            Self::Minimal => "make a Debian root file system",
            Self::Workloads => "make a Debian root file system for workloads",
        }
    }

    /// What mmdebstrap is told beyond what all images have.
    fn arguments(self) -> Vec<String> {
        match self {
            Self::Minimal => Vec::new(),
            Self::Workloads => {
                vec![format!("--include={SERVERS}"), format!("--customize-hook={FURNISH}")]
            }
        }
    }

    fn make(self, step: &Step, entry: &Path) -> Result<()> {
        let work = tempfile::tempdir().context("make a directory")?;
        let mut bootstrap = Command::new("mmdebstrap");
        bootstrap.args(["--variant=minbase", "--customize-hook", TRIM]).args(self.arguments());
        bootstrap.arg(SUITE).arg(work.path().join("root.tar")).arg(apt::sources()?);
        step.run(&mut bootstrap)?;
        let mut pack = as_root("sh")?;
        pack.args(["-euc", PACK, "sh"]).arg(work.path()).arg(entry.join(IMAGE));
        // mke2fs is not in an ordinary user's path.
        step.run(pack.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    }
}

/// A command that sees itself as root, so that owners and devices can be unpacked.
pub(super) fn as_root(program: &str) -> Result<Command> {
    let status = Command::new("id").arg("--user").output().context("run id")?;
    if status.stdout == b"0\n" {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("fakeroot");
    command.arg(program);
    Ok(command)
}

/// A root on the disk `$device` itself.
pub(super) const EXT4: &str = "
mount -t ext4 $device $root
";

/// An overlay whose layers are on `$device`: what is on the disk becomes the lower layer, unless a container before has done so.
pub(super) const OVERLAY_ON_DISK: &str = "
disk=$bundle/disk
mkdir $disk
mount -t ext4 $device $disk
if [ ! -e $disk/lower ]; then
    mkdir $disk/lower
    for entry in $disk/*; do
        if [ $entry != $disk/lower ]; then mv $entry $disk/lower; fi
    done
fi
rm -rf $disk/upper $disk/work
mkdir $disk/upper $disk/work
mount -t overlay -o lowerdir=$disk/lower,upperdir=$disk/upper,workdir=$disk/work overlay $root
";

/// Where several containers find the image.
const LOWER: &str = "
lower=/run/images/debian
if ! grep -q \" $lower \" /proc/mounts; then
    mkdir -p $lower
    mount -t ext4 -o ro $device $lower
fi
";

const OVERLAY: &str = "
mkdir -p $bundle/upper $bundle/work
mount -t overlay -o lowerdir=$lower,upperdir=$bundle/upper,workdir=$bundle/work overlay $root
";

const TMPFS: &str = "
mount -t tmpfs -o size=100% debian $root
cp -a $lower/. $root
";

/// An overlay over `$device`, its upper layer with the bundle.
pub(super) fn overlay() -> String {
    LOWER.to_owned() + OVERLAY
}

/// A copy of what is on `$device`.
pub(super) fn tmpfs() -> String {
    LOWER.to_owned() + TMPFS
}
