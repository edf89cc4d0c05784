// SPDX-License-Identifier: Apache-2.0
//! Debian's cloud kernel: its package from the backports, the modules that the guest needs, and
//! their order. The guest loads what it finds in `/modules/load.list`, line by line.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use super::BootKernel;
use crate::apt::{self, Package};
use crate::cache::{self, Inputs};
use crate::step::{Step, step};
use crate::vm::initramfs::{self, GuestFile};

/// The line that the product is developed on.
const PACKAGES: &str = "linux-image-6.12.*-cloud-amd64";

/// What the guest needs and this kernel does not have built in.
const MODULES: [&str; 4] = ["vmw_vsock_virtio_transport", "virtio_blk", "overlay", "virtio_rng"];

/// To be changed with the files that [`make`] leaves.
const LAYOUT: &str = "vmlinuz, modules.cpio";

/// AppArmor, TOMOYO and the like are off, as in the own kernel; lockdown and IMA can't be.
const CMDLINE: &str = "lsm=bpf";

/// The kernel from the cache, made if it is not there.
pub(super) fn kernel() -> Result<BootKernel> {
    let package = newest()?;
    let inputs = Inputs::new()
        .bytes("package", &package.name)
        .bytes("version", &package.version)
        .bytes("modules", MODULES.join(" "))
        .bytes("layout", LAYOUT);
    let entry = cache::get_or_make("cloud-kernel", &inputs, |entry| {
        step(&format!("prepare {}", package.name), |step| make(step, &package, entry))
    })?;
    Ok(BootKernel {
        image: entry.join("vmlinuz"),
        archives: vec![entry.join("modules.cpio")],
        cmdline: vec![CMDLINE],
    })
}

/// Asked once per process, so that all its VMs run the same.
fn newest() -> Result<Package> {
    static NEWEST: Mutex<Option<Package>> = Mutex::new(None);
    let mut newest = NEWEST.lock().expect("no panic while it is held");
    if newest.is_none() {
        *newest = Some(apt::newest(PACKAGES)?);
    }
    Ok(newest.clone().expect("set above"))
}

fn make(step: &Step, package: &Package, entry: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir().context("make a directory")?;
    let root = unpacked.path();
    apt::unpack(&apt::download(&package.name, Some(&package.version))?, root)?;
    let release = package.name.strip_prefix("linux-image-").context("name of the package")?;
    fs::copy(root.join(format!("boot/vmlinuz-{release}")), entry.join("vmlinuz"))
        .context("copy the image")?;
    // The package leaves this to its installation.
    step.run(Command::new("depmod").arg("--basedir").arg(root).arg(release))?;
    let modules = root.join("lib/modules").join(release);
    let table = fs::read_to_string(modules.join("modules.dep")).context("read modules.dep")?;
    let order = Dependencies::parse(&table).load_order(&MODULES)?;
    let archive = initramfs::archive(&guest_files(&modules, &order)?)?;
    fs::write(entry.join("modules.cpio"), archive).context("write the archive")
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
