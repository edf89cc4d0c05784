// SPDX-License-Identifier: Apache-2.0
//! Guest kernels: the own one, variants that lack something, and whether any kernel suffices.
//!
//! In: `guest-kernel/` of the checkout (version lock and fragments), and the fragments of the
//! variants. Out: a built kernel in the cache, kind `kernel`, and a [`check`] of any kernel's
//! configuration. Never: boots one, or
//! rebuilds for a changed comment: the key is made of options, not of text.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache;

use self::spec::Spec;
pub use self::spec::Variant;

mod build;
pub mod check;
mod config;
mod needs;
mod spec;

/// The directory of the lock and the fragments.
const GUEST_KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-kernel");

/// A kernel that a test VM can boot.
#[derive(Clone, Debug)]
pub struct KernelImage {
    /// The compressed image, which every machine type boots.
    pub bzimage: PathBuf,
    /// The uncompressed image, booted through PVH: no decompressor runs in the guest.
    pub pvh: Option<PathBuf>,
    /// The configuration it was built with.
    pub config: PathBuf,
    /// What `uname -r` says.
    pub release: String,
    /// Modules that init inserts in this order before anything else; the own kernel has none.
    pub modules: Vec<PathBuf>,
}

/// The own kernel of this checkout, if it has been built.
pub fn own() -> Result<Option<KernelImage>> {
    let inputs = Spec::read(Path::new(GUEST_KERNEL))?.inputs();
    cache::get(build::KIND, &inputs)?.map(|entry| KernelImage::of_entry(&entry)).transpose()
}

/// The own kernel of this checkout, built now unless the cache has it.
pub fn build() -> Result<KernelImage> {
    build_spec(&Spec::read(Path::new(GUEST_KERNEL))?)
}

/// A variant, built now unless the cache has it.
pub fn build_variant(variant: Variant) -> Result<KernelImage> {
    build_spec(&Spec::of_variant(variant, Path::new(GUEST_KERNEL))?)
}

/// Whether the cache has every variant.
pub fn all_variants_built() -> Result<bool> {
    for variant in Variant::ALL {
        let spec = Spec::of_variant(variant, Path::new(GUEST_KERNEL))?;
        if cache::get(build::KIND, &spec.inputs())?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn build_spec(spec: &Spec) -> Result<KernelImage> {
    let entry = cache::get_or_make(build::KIND, &spec.inputs(), |dir| build::fill(spec, dir))?;
    KernelImage::of_entry(&entry)
}

// === impl KernelImage ===

impl KernelImage {
    fn of_entry(entry: &Path) -> Result<Self> {
        let release = std::fs::read_to_string(entry.join(build::RELEASE));
        let release = release.with_context(|| format!("reading {}", entry.display()))?;
        Ok(Self {
            bzimage: entry.join(build::BZIMAGE),
            pvh: Some(entry.join(build::PVH)),
            config: entry.join(build::CONFIG),
            release: release.trim().to_owned(),
            modules: Vec::new(),
        })
    }
}
