// SPDX-License-Identifier: Apache-2.0
//! Programs that the rigs need and no distribution packages, built once from their registry and
//! kept in the cache. In: a crate and its version. Out: the program's path.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::{self, Inputs};
use crate::step::step;

/// The vsock device as a process of its own, for hosts without /dev/vhost-vsock.
///
/// # Errors
/// If it is not in the cache and does not build.
pub fn vhost_device_vsock() -> Result<PathBuf> {
    installed("vhost-device-vsock", "0.3.0")
}

/// The daemon behind virtio-fs, in the version that Kata pins.
///
/// # Errors
/// If it is not in the cache and does not build.
pub fn virtiofsd() -> Result<PathBuf> {
    installed("virtiofsd", "1.14.0")
}

/// Builds a crate's program of the same name, with the dependencies that its authors locked.
fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let inputs = Inputs::new().bytes("crate", name).bytes("version", version);
    let entry = cache::get_or_make("tools", &inputs, |root| {
        step(&format!("build {name} {version}"), |step| {
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["install", "--locked", "--no-track", "--root"]).arg(root);
            cargo.arg(format!("{name}@{version}"));
            // Flags of a surrounding build would change what is cached under this version.
            for setting in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
                cargo.env_remove(setting);
            }
            step.run(&mut cargo)
        })
    })?;
    let program = entry.join("bin").join(name);
    ensure!(program.is_file(), "{} is not there", program.display());
    program.canonicalize().with_context(|| format!("find {}", program.display()))
}
