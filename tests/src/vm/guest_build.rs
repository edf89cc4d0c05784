// SPDX-License-Identifier: Apache-2.0
//! Builds programs of this workspace for the guest: static, so that they run in any root file
//! system, and in a target directory of their own, so that the flags needed for that don't
//! invalidate the ordinary build. Cargo decides what is out of date.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::step::step;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Programs built by this process, which are up to date for as long as it runs.
static BUILT: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);

/// Builds the program `name` of the package `package` and returns its path.
///
/// # Errors
/// If it does not compile.
pub fn static_program(package: &str, name: &str) -> Result<PathBuf> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let directory = target_directory().join("guest");
    step(&format!("build {name} for the guest"), |step| {
        step.run(&mut build(package, name, &directory))
    })?;
    let path = directory.join(TARGET).join("release").join(name);
    let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
    built.insert(name.to_owned(), path.clone());
    Ok(path)
}

/// The target makes cargo keep the flags away from build scripts and macros.
fn build(package: &str, name: &str, directory: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).env("RUSTFLAGS", "-C target-feature=+crt-static");
    // Those of a surrounding `cargo test` concern another build.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    cargo.args(["build", "--release", "--target", TARGET, "--target-dir"]);
    cargo.arg(directory).args(["--package", package, "--bin", name]);
    cargo
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the workspace")
}

/// The workspace's target directory.
pub(crate) fn target_directory() -> PathBuf {
    workspace().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
