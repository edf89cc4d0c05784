// SPDX-License-Identifier: Apache-2.0
//! Debian's cloud kernels: their packages from the backports, the modules that the guest needs, and
//! their order. The guest loads what it finds in `/modules/load.list`, line by line.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use super::BootKernel;
use crate::apt::{self, Package, Release};
use crate::cache::{self, Inputs};
use crate::step::{Step, step};
use crate::vm::initramfs::{self, GuestFile};

/// A line of kernels, of which the newest is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The one that the product is developed on.
    V6_12,
    /// The one that Kata ships.
    V6_18,
    /// Whichever is newest.
    Newest,
}

/// What the guest needs and these kernels do not have built in.
const MODULES: [&str; 4] = ["vmw_vsock_virtio_transport", "virtio_blk", "overlay", "virtio_rng"];

/// To be changed with the files that [`make`] leaves.
const LAYOUT: &str = "vmlinuz, modules.cpio";

/// AppArmor, TOMOYO and the like are off, as in the own kernel; lockdown and IMA can't be.
const LSMS: &str = "lsm=bpf";

/// Since Linux 6.19 labels of tasks come from an allocator that works without cmpxchg16b, which the
/// machine does not have, only where it checks what it allocates.
/// <https://github.com/torvalds/linux/blob/v6.19/mm/slub.c#L5743>
const CHECKED_ALLOCATOR: &str = "slab_debug=F";

// === impl Line ===

impl Line {
    /// All of them, the oldest first.
    pub const ALL: [Self; 3] = [Self::V6_12, Self::V6_18, Self::Newest];

    /// Its name on the command line and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_12 => "debian-6.12",
            Self::V6_18 => "debian-6.18",
            Self::Newest => "debian-newest",
        }
    }

    fn pattern(self) -> (Release, &'static str) {
        match self {
            Self::V6_12 => (Release::Bookworm, "linux-image-6.12.*-cloud-amd64"),
            Self::V6_18 => (Release::TrixieBackports, "linux-image-6.18.*-cloud-amd64"),
            Self::Newest => (Release::TrixieBackports, "linux-image-*-cloud-amd64"),
        }
    }

    fn cmdline(self) -> Vec<&'static str> {
        match self {
            Self::V6_12 | Self::V6_18 => vec![LSMS],
            Self::Newest => vec![LSMS, CHECKED_ALLOCATOR],
        }
    }

    /// Asked once per process, so that all its VMs run the same.
    fn newest(self) -> Result<Package> {
        static NEWEST: Mutex<Vec<(Line, Package)>> = Mutex::new(Vec::new());
        let mut newest = NEWEST.lock().expect("no panic while it is held");
        if let Some((_, package)) = newest.iter().find(|(line, _)| *line == self) {
            return Ok(package.clone());
        }
        let (release, pattern) = self.pattern();
        let package = release.newest(pattern)?;
        newest.push((self, package.clone()));
        Ok(package)
    }
}

/// The kernel from the cache, made if it is not there.
pub(super) fn kernel(line: Line) -> Result<BootKernel> {
    let package = line.newest()?;
    let inputs = Inputs::new()
        .bytes("package", &package.name)
        .bytes("version", &package.version)
        .bytes("modules", MODULES.join(" "))
        .bytes("layout", LAYOUT);
    let entry = cache::get_or_make("cloud-kernel", &inputs, |entry| {
        step(&format!("prepare {}", package.name), |step| make(step, line, &package, entry))
    })?;
    Ok(BootKernel {
        image: entry.join("vmlinuz"),
        archives: vec![entry.join("modules.cpio")],
        cmdline: line.cmdline(),
    })
}

fn make(step: &Step, line: Line, package: &Package, entry: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir().context("make a directory")?;
    let root = unpacked.path();
    let version = package.name.strip_prefix("linux-image-").context("name of the package")?;
    let unpack = |kind: &str| -> Result<()> {
        let deb = line.pattern().0.download(&format!("{kind}{version}"), Some(&package.version));
        apt::unpack(&deb?, root)
    };
    unpack("linux-image-")?;
    if image_of(root, version).is_err() {
        // Since 7.0 that package only names the two that have the files.
        unpack("linux-binary-")?;
        unpack("linux-modules-")?;
    }
    fs::copy(image_of(root, version)?, entry.join("vmlinuz")).context("copy the image")?;
    let base = [root.to_owned(), root.join("usr")];
    let base = base.iter().find(|base| base.join("lib/modules").join(version).is_dir());
    let base = base.with_context(|| format!("{} has no modules", package.name))?;
    // The package leaves this to its installation.
    step.run(Command::new("depmod").arg("--basedir").arg(base).arg(version))?;
    let modules = base.join("lib/modules").join(version);
    let table = fs::read_to_string(modules.join("modules.dep")).context("read modules.dep")?;
    let order = Dependencies::parse(&table).load_order(&MODULES)?;
    let archive = initramfs::archive(&guest_files(&modules, &order)?)?;
    fs::write(entry.join("modules.cpio"), archive).context("write the archive")
}

/// Where the package has the image.
fn image_of(root: &Path, version: &str) -> Result<PathBuf> {
    let places = [format!("boot/vmlinuz-{version}"), format!("usr/lib/modules/{version}/vmlinuz")];
    let found = places.iter().map(|place| root.join(place)).find(|place| place.is_file());
    found.with_context(|| format!("the package has none of {}", places.join(", ")))
}

/// The modules, decompressed, and the list.
fn guest_files(modules: &Path, order: &[&str]) -> Result<Vec<GuestFile>> {
    let mut files = Vec::new();
    let mut list = String::new();
    for module in order {
        let path = format!("/modules/{}.ko", module_name(module));
        list += &path;
        list.push('\n');
        files.push(GuestFile::bytes(&path, 0o644, decompress(&modules.join(module))?));
    }
    files.push(GuestFile::bytes("/modules/load.list", 0o644, list));
    Ok(files)
}

fn decompress(module: &Path) -> Result<Vec<u8>> {
    let output = Command::new("xz").args(["-dc"]).arg(module).output().context("run xz")?;
    ensure!(output.status.success(), "{}: not in xz format", module.display());
    Ok(output.stdout)
}

/// `modules.dep`: each module's file and those that it needs.
struct Dependencies<'a> {
    files: HashMap<String, (&'a str, Vec<&'a str>)>,
}

// === impl Dependencies ===

impl<'a> Dependencies<'a> {
    fn parse(table: &'a str) -> Self {
        let rows = table.lines().filter_map(|line| line.split_once(':'));
        let files = rows
            .map(|(file, needs)| (module_name(file), (file, needs.split_whitespace().collect())));
        Self { files: files.collect() }
    }

    /// Files of the modules and of all that they need, each after what it needs.
    fn load_order(&self, modules: &[&str]) -> Result<Vec<&'a str>> {
        let mut order = Vec::new();
        for module in modules {
            self.visit(module, &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, module: &str, order: &mut Vec<&'a str>) -> Result<()> {
        let (file, needs) =
            self.files.get(module).with_context(|| format!("no module {module}"))?;
        if order.contains(file) {
            return Ok(());
        }
        for need in needs {
            self.visit(&module_name(need), order)?;
        }
        order.push(file);
        Ok(())
    }
}

/// As the kernel writes it: `kernel/a/b-c.ko.xz` is `b_c`.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_all_it_needs_and_once() {
        let table = "k/a.ko.xz: k/b-b.ko.xz k/c.ko.xz\nk/b-b.ko.xz: k/c.ko.xz\nk/c.ko.xz:\n";
        let dependencies = Dependencies::parse(table);
        let order = dependencies.load_order(&["c", "a"]).unwrap();
        assert_eq!(order, ["k/c.ko.xz", "k/b-b.ko.xz", "k/a.ko.xz"]);
        assert!(dependencies.load_order(&["d"]).is_err());
    }
}
