// SPDX-License-Identifier: Apache-2.0
//! What every guest has besides its PID 1: busybox and runc, from Debian packages, with the
//! libraries that runc needs. Out: one archive for the initial file tree, kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use cpio::NewcReader;

use super::initramfs::{self, GuestFile};
use crate::apt::{self, Package};
use crate::cache::{self, Inputs};
use crate::step::step;

/// libc6 too, so that nothing depends on the host's libraries.
const PACKAGES: [&str; 4] = ["busybox-static", "libc6", "libseccomp2", "runc"];

/// Where Debian's loader looks without a cache file; the packages split their files among both.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// To be renamed when its content changes while the packages don't. Not compressed: that saved no
/// boot time that could be told from noise.
const ARCHIVE: &str = "base.cpio";

const LOADER: &str = "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

/// The archive, made if it is not in the cache. Looked up once per process.
pub(super) fn base_archive() -> Result<PathBuf> {
    static ARCHIVE: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut archive = ARCHIVE.lock().expect("no panic while it is held");
    if archive.is_none() {
        *archive = Some(find_or_make()?);
    }
    Ok(archive.clone().expect("set above"))
}

/// A file of every guest, by its place there.
pub(crate) fn file(place: &str) -> Result<Vec<u8>> {
    let archive = fs::read(base_archive()?).context("read the archive")?;
    let mut left = archive.as_slice();
    loop {
        let entry = NewcReader::new(left).context("read an entry")?;
        ensure!(!entry.entry().is_trailer(), "no guest has {place}");
        if entry.entry().name() == place.trim_start_matches('/') {
            let mut bytes = Vec::new();
            entry.to_writer(&mut bytes).context("unpack")?;
            return Ok(bytes);
        }
        left = entry.finish().context("skip an entry")?;
    }
}

fn find_or_make() -> Result<PathBuf> {
    let packages = PACKAGES.map(apt::newest).into_iter().collect::<Result<Vec<Package>>>()?;
    let inputs =
        packages.iter().fold(Inputs::new().bytes("archive", ARCHIVE), |inputs, package| {
            inputs.bytes(&package.name, &package.version)
        });
    let entry = cache::get_or_make("guest-tools", &inputs, |entry| {
        step("pack the guest's tools", |_| make(&packages, entry))
    })?;
    Ok(entry.join(ARCHIVE))
}

fn make(packages: &[Package], entry: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir().context("make a directory")?;
    let root = unpacked.path();
    for package in packages {
        apt::unpack(&apt::download(&package.name, Some(&package.version))?, root)?;
    }
    let runc = root.join("usr/sbin/runc");
    let mut files = vec![
        GuestFile::program("/bin/busybox", root.join("bin/busybox")),
        GuestFile::program("/lib64/ld-linux-x86-64.so.2", root.join(LOADER)),
        GuestFile::program("/usr/sbin/runc", &runc),
    ];
    for (name, library) in libraries(root, &runc)? {
        files.push(GuestFile::program(&format!("/{}/{name}", LIBRARIES[0]), library));
    }
    let archive = initramfs::archive(&files)?;
    fs::write(entry.join(ARCHIVE), archive).context("write the archive")
}

/// Names and files of the libraries that a program would be linked with, asked of the unpacked
/// loader itself.
fn libraries(root: &Path, program: &Path) -> Result<Vec<(String, PathBuf)>> {
    let path = LIBRARIES.map(|directory| root.join(directory).display().to_string()).join(":");
    let mut loader = Command::new(root.join(LOADER));
    let output = loader.args(["--library-path", &path, "--list"]).arg(program).output();
    let output = output.context("run the loader")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "the loader fails for {}: {text}", program.display());
    let found = text.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(" => ")?;
        Some((name.to_owned(), rest.split(" (").next()?.to_owned()))
    });
    found
        .map(|(name, file)| {
            let file = fs::canonicalize(&file).with_context(|| format!("find {file}"))?;
            ensure!(file.starts_with(root), "{name} is in none of the packages");
            Ok((name, file))
        })
        .collect()
}
