// SPDX-License-Identifier: Apache-2.0
//! Builds programs of this workspace. Those for the guest are static, so that they run in any root
//! file system, and have a target directory of their own, so that the flags needed for that don't
//! invalidate the ordinary build; those for the host are what the tests build anyway. Cargo decides
//! what is out of date.

use std::collections::HashSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, ensure};

use crate::step::step;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Programs built by this process, which are up to date for as long as it runs.
static BUILT: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Builds the program `name` of the package `package` for the guest and returns its path.
///
/// # Errors
/// If it does not compile.
pub fn static_program(package: &str, name: &str) -> Result<PathBuf> {
    let directory = target_directory().join("guest");
    let mut command = cargo_build(package, name);
    // The target makes cargo keep the flags away from build scripts and macros.
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_TARGET_DIR");
    command.args(["--release", "--target", TARGET, "--target-dir"]).arg(&directory);
    let path = directory.join(TARGET).join("release").join(name);
    once(&format!("build {name} for the guest"), path, command)
}

/// Builds the program `name` of the package `package` for this host and returns its path.
///
/// # Errors
/// If it does not compile.
pub fn host_program(package: &str, name: &str) -> Result<PathBuf> {
    let path = target_directory().join("debug").join(name);
    once(&format!("build {name}"), path, cargo_build(package, name))
}

/// As [`host_program`], as it is shipped: what is measured is not what the tests build.
///
/// # Errors
/// If it does not compile.
pub fn release_program(package: &str, name: &str) -> Result<PathBuf> {
    let path = target_directory().join("release").join(name);
    let mut command = cargo_build(package, name);
    command.arg("--release");
    once(&format!("build {name} for release"), path, command)
}

fn once(title: &str, path: PathBuf, mut command: Command) -> Result<PathBuf> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.contains(&path) {
        return Ok(path);
    }
    step(title, |step| step.run(&mut command))?;
    ensure!(path.is_file(), "cargo left no {}", path.display());
    built.insert(path.clone());
    Ok(path)
}

fn cargo_build(package: &str, name: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    // Those of a surrounding `cargo test` concern another build.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.args(["build", "--package", package, "--bin", name]);
    cargo
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the workspace")
}

/// The workspace's target directory.
pub(crate) fn target_directory() -> PathBuf {
    workspace().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
