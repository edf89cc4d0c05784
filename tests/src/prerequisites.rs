// SPDX-License-Identifier: Apache-2.0
//! Programs and libraries of the system that builds and machines need.
//!
//! In: what is going to be done. Out: nothing, when all is there; on Debian, as root, missing
//! packages are installed first, and a line says so. Otherwise an error with the one command that
//! helps. Looks for what is needed rather than for packages, so that a tool of another origin
//! counts too. Never: installs as anybody but root, or anything beyond the lists.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::kernel;
use crate::step::{say, step};

/// What somebody is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Compile and check the workspace.
    Compile,
    /// Boot machines, and make what they boot from.
    Boot,
    /// Build the guest kernel, unless the cache has it; see guest-kernel/README.md.
    BuildKernel,
    /// Build its variants, unless the cache has them.
    BuildVariants,
}

/// What somebody needs, and the Debian package that has it.
struct Need {
    what: What,
    package: &'static str,
}

enum What {
    /// A program in the path, or where Debian keeps those of the administrator.
    Program(&'static str),
    /// A header of C.
    Header(&'static str),
}

use What::{Header, Program};

const fn need(what: What, package: &'static str) -> Need {
    Need { what, package }
}

const COMPILE: &[Need] = &[
    need(Program("cc"), "gcc"),
    need(Header("stdlib.h"), "libc6-dev"),
    need(Program("clang"), "clang"),
    need(Program("llvm-strip"), "llvm"),
    need(Header("bpf/bpf_helpers.h"), "libbpf-dev"),
    need(Program("git"), "git"),
];

const BUILD_KERNEL: &[Need] = &[
    need(Program("make"), "make"),
    need(Program("flex"), "flex"),
    need(Program("bison"), "bison"),
    need(Program("bc"), "bc"),
    need(Program("pahole"), "dwarves"),
    need(Program("objcopy"), "binutils"),
    need(Program("xz"), "xz-utils"),
    need(Program("zstd"), "zstd"),
    need(Program("cpio"), "cpio"),
    need(Header("gelf.h"), "libelf-dev"),
    need(Header("openssl/ssl.h"), "libssl-dev"),
];

const BOOT: &[Need] = &[
    need(Program("qemu-system-x86_64"), "qemu-system-x86"),
    need(Program("setpriv"), "util-linux"),
    need(Program("mmdebstrap"), "mmdebstrap"),
    need(Program("fakeroot"), "fakeroot"),
    need(Program("mke2fs"), "e2fsprogs"),
    need(Program("depmod"), "kmod"),
    need(Program("xz"), "xz-utils"),
    need(Program("nsenter"), "util-linux"),
    need(Program("losetup"), "mount"),
    // Of virtiofsd, which is built.
    need(Program("cc"), "gcc"),
    need(Header("cap-ng.h"), "libcap-ng-dev"),
    need(Header("seccomp.h"), "libseccomp-dev"),
];

/// Makes sure that all of this can be done.
pub fn ensure(purposes: &[Purpose]) -> Result<()> {
    let missing = missing(purposes)?;
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !is_root()? || !runs("apt-get") {
        bail!("packages are missing (these are Debian's names); as root, run\n    {install}");
    }
    say(&format!("packages are missing; installing them: {install}"));
    step("install packages", |step| {
        step.run(&mut apt_get(&["update"]))?;
        let words = ["install", "--yes", "--no-install-recommends"];
        step.run(apt_get(&words).args(&missing))
    })
}

/// Packages to install, each once.
fn missing(purposes: &[Purpose]) -> Result<Vec<&'static str>> {
    let mut needs: Vec<&Need> = Vec::new();
    for purpose in purposes {
        needs.extend(purpose.needs()?);
    }
    let missing = needs.into_iter().filter(|need| !need.what.is_there());
    let mut packages: Vec<_> = missing.map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    Ok(packages)
}

// === impl Purpose ===

impl Purpose {
    fn needs(self) -> Result<&'static [Need]> {
        Ok(match self {
            Self::Compile => COMPILE,
            Self::Boot => BOOT,
            Self::BuildKernel if kernel::own()?.is_some() => &[],
            Self::BuildVariants if kernel::all_variants_built()? => &[],
            Self::BuildKernel | Self::BuildVariants => BUILD_KERNEL,
        })
    }
}

// === impl What ===

impl What {
    fn is_there(&self) -> bool {
        match self {
            Program(name) => runs(name),
            Header(name) => ["/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/local/include"]
                .iter()
                .any(|dir| Path::new(dir).join(name).is_file()),
        }
    }
}

fn runs(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.into_iter().any(|dir| dir.join(program).is_file())
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("--user").output().context("running id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn apt_get(words: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(words).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::{Header, Program, Purpose, missing};

    #[test]
    fn what_is_there_is_not_missing() {
        assert!(Program("sh").is_there());
        assert!(!Program("no-such-program").is_there());
        assert!(!Header("no/such/header.h").is_there());
    }

    #[test]
    fn who_compiled_this_has_what_compiling_needs() {
        assert_eq!(missing(&[Purpose::Compile]).unwrap(), Vec::<&str>::new());
    }
}
