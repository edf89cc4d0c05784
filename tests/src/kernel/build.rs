// SPDX-License-Identifier: Apache-2.0
//! The recipe of the kernels of this checkout.
//!
//! In: a [`Spec`]. Out: the files of a cache entry, named by the constants below. Never: keeps
//! the source or build tree (3 GB), which lie in the unfinished entry and go before it is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::apt;
use crate::cache::Cache;
use crate::step::{Step, step};

use super::config::Config;
use super::spec::Spec;

/// Kind of the cache entries.
pub(super) const KIND: &str = "kernel";

/// Raised whenever this file makes something else of the same source and options.
pub(super) const RECIPE: u32 = 1;

pub(super) const BZIMAGE: &str = "bzImage";
pub(super) const PVH: &str = "vmlinux.pvh";
pub(super) const CONFIG: &str = "config";
pub(super) const RELEASE: &str = "release";

/// The objects of one kernel take 0.25 GB; this leaves room for a few generations of options.
const CCACHE_MAXSIZE: &str = "2G";

/// Builds the kernel into `dir`.
pub(super) fn fill(spec: &Spec, dir: &Path) -> Result<()> {
    let deb = apt::download(&spec.lock.package, Some(&spec.lock.version)).with_context(|| {
        let suite = &spec.lock.suite;
        format!("fetching the source; if {suite} has a newer one, name it in kernel.lock")
    })?;
    step("building the guest kernel", |step| {
        let tree = Tree::unpack(&deb, &dir.join("tree"), step)?;
        tree.configure(spec, step)?;
        tree.compile(step)?;
        tree.collect(dir, step)?;
        fs::remove_dir_all(dir.join("tree")).context("removing the build tree")
    })
}

/// Source, with the build directory right inside. Kbuild then uses relative paths, so the
/// compiler cache hits wherever the tree lies.
struct Tree {
    source: PathBuf,
    out: PathBuf,
}

// === impl Tree ===

impl Tree {
    fn unpack(deb: &Path, tree: &Path, step: &Step) -> Result<Self> {
        let package = tree.join("package");
        let source = tree.join("source");
        let out = source.join("out");
        for dir in [&package, &out] {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        step.note("unpacking the source");
        apt::unpack(deb, &package)?;
        let archive = fs::read_dir(package.join("usr/src")).context("listing the package")?;
        let archive = archive
            .flatten()
            .map(|file| file.path())
            .find(|path| path.to_string_lossy().ends_with(".tar.xz"))
            .with_context(|| format!("{} has no source archive", deb.display()))?;
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(archive);
        step.run(tar.arg("--directory").arg(&source).arg("--strip-components=1"))?;
        Ok(Self { source, out })
    }

    /// Merges the options into allnoconfig, and insists on every one of them.
    fn configure(&self, spec: &Spec, step: &Step) -> Result<()> {
        let fragment = self.source.join("kadapter.config");
        fs::write(&fragment, spec.fragment()).context("writing the fragment")?;
        let mut merge = self.command("scripts/kconfig/merge_config.sh");
        step.run(merge.args(["-n", "-O", "out"]).arg(&fragment))?;

        let built = self.out.join(".config");
        let built = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
        let lost = spec.lost_in(&Config::from_bytes(&built)?);
        if !lost.is_empty() {
            bail!(
                "Kconfig did not keep these options, see their dependencies:\n{}",
                lost.join("\n")
            );
        }
        Ok(())
    }

    fn compile(&self, step: &Step) -> Result<()> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let mut make = self.command("make");
        make.args(["O=out", &format!("--jobs={jobs}"), "bzImage"]);
        if runs("ccache") {
            make.args(["CC=ccache gcc", "HOSTCC=ccache gcc"]);
            // Debug information would else tie each object to this run's directory.
            make.env("CCACHE_NOHASHDIR", "1");
            if std::env::var_os("CCACHE_DIR").is_none() {
                make.env("CCACHE_DIR", Cache::user()?.state("ccache")?);
                make.env("CCACHE_MAXSIZE", CCACHE_MAXSIZE);
            }
        }
        step.run(&mut make)
    }

    /// Copies what is kept: images, configuration, symbols.
    fn collect(&self, dir: &Path, step: &Step) -> Result<()> {
        let copy = |from: &str, to: &str| {
            let from = self.out.join(from);
            fs::copy(&from, dir.join(to)).with_context(|| format!("copying {}", from.display()))
        };
        copy("arch/x86/boot/bzImage", BZIMAGE)?;
        copy(".config", CONFIG)?;
        copy("System.map", "System.map")?;
        copy("include/config/kernel.release", RELEASE)?;
        let mut strip = Command::new("objcopy");
        step.run(strip.arg("--strip-all").arg(self.out.join("vmlinux")).arg(dir.join(PVH)))
    }

    /// A tool of the source tree. The image carries neither time nor place of its build, and no
    /// setting of the caller's leaks into it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.source);
        for foreign in ["MAKEFLAGS", "MFLAGS", "CFLAGS", "KCFLAGS", "ARCH", "CROSS_COMPILE"] {
            command.env_remove(foreign);
        }
        command
            .env("LC_ALL", "C")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_USER", "kadapter")
            .env("KBUILD_BUILD_HOST", "kadapter")
            .env("KBUILD_BUILD_VERSION", "1");
        command
    }
}

fn runs(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
