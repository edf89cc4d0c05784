// SPDX-License-Identifier: Apache-2.0
//! Which kernel a VM boots: the one built with this product's configuration, one that lacks
//! something, or Debian's own cloud kernel, which needs no build but modules, and starts more
//! slowly. Out: an image, archives for the initial file tree, words for the command line. The
//! kernels that are built are made elsewhere.

use std::path::PathBuf;

use anyhow::Result;

use crate::kernel::{self as built, KernelImage, Variant};

mod debian;

/// What to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// The kernel with this product's configuration, built if it is not in the cache.
    Own,
    /// One that lacks something, built if it is not in the cache.
    Variant(Variant),
    /// Debian's cloud kernel.
    Debian,
    /// `Own` if it is in the cache, else `Debian`.
    Auto,
}

/// What a choice comes down to.
#[derive(Debug, Clone)]
pub(crate) struct BootKernel {
    pub image: PathBuf,
    /// Put before the files of the test.
    pub archives: Vec<PathBuf>,
    pub cmdline: Vec<&'static str>,
}

/// Finds or makes the kernel.
pub(crate) fn resolve(choice: KernelChoice) -> Result<BootKernel> {
    match choice {
        KernelChoice::Own => built::build().map(own_kernel),
        KernelChoice::Variant(variant) => built::build_variant(variant).map(own_kernel),
        KernelChoice::Debian => debian::kernel(),
        KernelChoice::Auto => built::own()?.map_or_else(debian::kernel, |own| Ok(own_kernel(own))),
    }
}

/// Everything is built in, and the LSM list is part of its configuration.
fn own_kernel(kernel: KernelImage) -> BootKernel {
    let image = kernel.pvh.unwrap_or(kernel.bzimage);
    BootKernel { image, archives: Vec::new(), cmdline: Vec::new() }
}
