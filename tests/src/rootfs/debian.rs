// SPDX-License-Identifier: Apache-2.0
//! A Debian root file system as an ext4 image, kept in the cache. In: the mirror that the packages
//! come from. Out: the image's path. Needs mmdebstrap and, unless run by root, fakeroot.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt;
use crate::cache::{self, Inputs};
use crate::step::{Step, step};

const SUITE: &str = "bookworm";

/// The image's name, in the cache and nowhere else.
const IMAGE: &str = "debian.ext4";

/// Half of the image: nobody reads this in a test, and less to write is less to wait for.
const TRIM: &str = r#"cd "$1/usr/share" && rm -rf doc man locale info lintian"#;

/// Without a journal, which costs time and protects nothing in an image that is never written.
const PACK: &str = r#"mkdir "$1/root" && tar --extract --numeric-owner --file "$1/root.tar" \
    --directory "$1/root" && mke2fs -q -t ext4 -O ^has_journal -d "$1/root" "$2" 512M"#;

/// The image, made if it is not in the cache.
pub(super) fn image() -> Result<PathBuf> {
    let inputs = Inputs::new().bytes("suite", SUITE).bytes("trim", TRIM).bytes("pack", PACK);
    let entry = cache::get_or_make("rootfs", &inputs, |entry| {
        step("make a Debian root file system", |step| make(step, entry))
    })?;
    Ok(entry.join(IMAGE))
}

fn make(step: &Step, entry: &Path) -> Result<()> {
    let work = tempfile::tempdir().context("make a directory")?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=minbase", "--customize-hook", TRIM, SUITE]);
    bootstrap.arg(work.path().join("root.tar")).arg(apt::sources()?);
    step.run(&mut bootstrap)?;
    let mut pack = as_root("sh")?;
    pack.args(["-euc", PACK, "sh"]).arg(work.path()).arg(entry.join(IMAGE));
    // mke2fs is not in an ordinary user's path.
    step.run(pack.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
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
