// SPDX-License-Identifier: Apache-2.0
//! Which kernel a VM boots: the one built with this product's configuration, one that lacks
//! something, or one of Debian's cloud kernels, which need no build but modules, and start more
//! slowly. Out: an image, archives for the initial file tree, words for the command line. The
//! kernels that are built are made elsewhere.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;

use crate::kernel::{self as built, KernelImage, Variant};

pub use debian::Line;

mod debian;

/// What to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// The kernel with this product's configuration, built if it is not in the cache.
    Own,
    /// One that lacks something, built if it is not in the cache.
    Variant(Variant),
    /// Debian's cloud kernel of a line.
    Debian(Line),
    /// `Own` if it is in the cache, else Debian's of the same line.
    Auto,
}

/// A name that no kernel has.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no kernel is called `{0}`; there are own, debian-6.12, debian-6.18, debian-newest")]
pub struct UnknownKernel(String);

// === impl KernelChoice ===

impl FromStr for KernelChoice {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        let line = Line::ALL.into_iter().find(|line| line.name() == name);
        match (name, line) {
            ("own", _) => Ok(Self::Own),
            (_, Some(line)) => Ok(Self::Debian(line)),
            _ => Err(UnknownKernel(name.to_owned())),
        }
    }
}

/// What a choice comes down to.
#[derive(Debug, Clone)]
pub(crate) struct BootKernel {
    pub image: PathBuf,
    /// Put before the files of the test.
    pub archives: Vec<PathBuf>,
    pub cmdline: Vec<&'static str>,
}

// === impl BootKernel ===

impl BootKernel {
    /// What a test gives comes last, so that it wins.
    pub(crate) fn command_line(&self, extra: &[String]) -> String {
        // An emulated timer may come late on a busy host: "IO-APIC + timer doesn't work". The console
        // has what is a warning or worse; `quiet` alone would leave out warnings, whose level is 4.
        // A busy host has Debian's kernels measure a wrong clock, whose first correction passes for a
        // stall: none is reported before init runs.
        let patient = "rcupdate.rcu_cpu_stall_suppress_at_boot=1";
        let fixed = ["console=ttyS0", "panic=-1", "quiet", "loglevel=5", "no_timer_check", patient];
        let words = fixed.into_iter().chain(self.cmdline.iter().copied());
        words.chain(extra.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }
}

/// Finds or makes the kernel.
pub(crate) fn resolve(choice: KernelChoice) -> Result<BootKernel> {
    match choice {
        KernelChoice::Own => built::build().map(own_kernel),
        KernelChoice::Variant(variant) => built::build_variant(variant).map(own_kernel),
        KernelChoice::Debian(line) => debian::kernel(line),
        KernelChoice::Auto => match built::own()? {
            Some(own) => Ok(own_kernel(own)),
            None => debian::kernel(Line::V6_12),
        },
    }
}

/// Everything is built in, and the LSM list is part of its configuration.
fn own_kernel(kernel: KernelImage) -> BootKernel {
    let image = kernel.pvh.unwrap_or(kernel.bzimage);
    BootKernel { image, archives: Vec::new(), cmdline: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_by_their_names() {
        for line in Line::ALL {
            assert_eq!(line.name().parse::<KernelChoice>().unwrap(), KernelChoice::Debian(line));
        }
        assert_eq!("own".parse::<KernelChoice>().unwrap(), KernelChoice::Own);
        assert!("debian-5.10".parse::<KernelChoice>().is_err());
    }
}
