// SPDX-License-Identifier: Apache-2.0
//! What the product's programs weigh: their files, as they are shipped, and the crates in them.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::vm::{release_program, static_program};

use super::report::{Figure, Report};

/// The only target that is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Bytes in the unit of the figures.
const MIB: f64 = 1024.0 * 1024.0;

/// Builds both, and weighs them.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let agent = static_program("guest-agent", "kadapter-agent")?;
    report.add(Figure::new("agent.binary", mebibytes(&agent)?, "MiB").note("release, static"));
    report.add(Figure::new("agent.crates", crates("guest-agent")?, "").note("without proc macros"));
    let relay = release_program("host-relay", "kadapter-relay")?;
    report.add(Figure::new("relay.binary", mebibytes(&relay)?, "MiB").note("release, dynamic"));
    report.add(Figure::new("relay.crates", crates("host-relay")?, "").note("without proc macros"));
    Ok(())
}

fn mebibytes(file: &Path) -> Result<f64> {
    let length = fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.len();
    Ok(length as f64 / MIB)
}

/// Crates that a package's program links besides itself, a version each; as the suite `walls`
/// counts them.
fn crates(package: &str) -> Result<f64> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["tree", "--locked", "--package", package]);
    cargo.args(["--target", TARGET, "--edges", "normal,no-proc-macro"]);
    cargo.args(["--prefix", "none", "--format", "{p}"]);
    let output = cargo.output().context("run cargo tree")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("what cargo tree prints")?;
    // `name vVERSION (path) (*)`
    let name = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    let closure: BTreeSet<_> = text.lines().map(name).collect();
    ensure!(closure.iter().any(|words| words[0] == package), "cargo tree prints another format");
    Ok((closure.len() - 1) as f64)
}
