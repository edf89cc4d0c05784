// SPDX-License-Identifier: Apache-2.0
//! Test programs of the workspace, by suite.
//!
//! In: the workspace. Out: one [`Program`] per test target, compiled by a single cargo build; a
//! person's `cargo test --workspace --all-features` finds it done. Never: leaves a target out: what
//! belongs to no other suite is unit.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cargo_metadata::{Artifact, Message, Metadata, MetadataCommand, TargetKind};

use super::Suite;
use crate::step::step;

/// The toolchain that compiles for libFuzzer, as rustup names it.
pub(super) const NIGHTLY: &str = "nightly";

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What libFuzzer is to see: edges, how often each is taken, what comparisons compare, and branches
/// that are not folded into others. The flags are LLVM's own, which a stable compiler does not
/// promise; `fuzzing` is what `bolero` and others are told of it by.
const INSTRUMENTED: [&str; 8] = [
    "--cfg fuzzing",
    "--cfg fuzzing_libfuzzer",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// A compiled test target.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) suite: Suite,
    /// Package and target, for people.
    pub(super) title: String,
    executable: PathBuf,
    /// Directory of the package, where cargo would run it.
    directory: PathBuf,
}

/// Compiles every test of the workspace.
pub(super) fn programs() -> Result<Vec<Program>> {
    compile("compile the tests", || command("test", &["--no-run"]))
}

/// Compiles the fuzz targets, to run long.
pub(super) fn fuzz_targets() -> Result<Vec<Program>> {
    compile("compile the fuzz targets", || {
        let mut command = cargo();
        command.args(["test", "--no-run", "--locked", "--profile", "fuzz"]);
        command.args(["--package", "fuzz", "--test", "targets"]);
        command
    })
}

/// Compiles them for libFuzzer with the nightly toolchain, whose compiler can instrument them, into
/// this directory.
pub(super) fn guided_fuzz_targets(directory: &Path) -> Result<Vec<Program>> {
    compile("compile the fuzz targets for libFuzzer", || {
        let mut command = Command::new("rustup");
        command.args(["run", NIGHTLY, "cargo", "test", "--no-run", "--locked"]).current_dir(root());
        command.args(["--profile", "fuzz", "--package", "fuzz", "--test", "targets"]);
        // A target makes cargo keep the flags away from build scripts and macros.
        command.args(["--target", TARGET, "--target-dir"]).arg(directory);
        command.env("RUSTFLAGS", INSTRUMENTED.join(" ")).env_remove("CARGO_ENCODED_RUSTFLAGS");
        // libFuzzer is C++, and clang is needed anyway.
        command.env("CXX", "clang++");
        command
    })
}

fn compile(title: &str, build: impl Fn() -> Command) -> Result<Vec<Program>> {
    step(title, |step| {
        step.run(&mut build())?;
        // Nothing is left to do but to name the results; apart from the build, so that the
        // compiler's messages stay readable.
        let output = build().arg("--message-format=json").output();
        let output = output.context("running cargo")?;
        ensure!(output.status.success(), "cargo cannot list the tests that it has built");
        let packages = MetadataCommand::new().current_dir(root()).no_deps().exec();
        let packages = packages.context("asking cargo for its packages")?;
        let mut programs: Vec<Program> = Vec::new();
        for message in Message::parse_stream(&output.stdout[..]) {
            if let Message::CompilerArtifact(artifact) = message.context("reading from cargo")? {
                programs.extend(program(&artifact, &packages)?);
            }
        }
        // Cargo reports them as they get ready.
        programs.sort_by(|one, other| one.title.cmp(&other.title));
        Ok(programs)
    })
}

/// A cargo command on everything: whole workspace, all features. All suites share these, so that
/// none compiles anew what another has.
pub(super) fn command(verb: &str, arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args([verb, "--workspace", "--all-features", "--locked"]).args(arguments);
    command
}

/// Cargo, at the root of the checkout.
pub(super) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

// === impl Program ===

impl Program {
    /// Runs all its tests, and is ended after the limit.
    pub(super) fn command(&self, limit: Duration) -> Command {
        let mut command = Command::new("timeout");
        // In the foreground: an interrupt from the terminal ends it too. What it started is tied
        // to it, so to end it alone suffices.
        command.args(["--foreground", "--kill-after=10s", &format!("{}s", limit.as_secs())]);
        command.arg(&self.executable).current_dir(&self.directory);
        command.env("CARGO_MANIFEST_DIR", &self.directory);
        command
    }
}

/// The program of an artefact, if that is a test.
fn program(artifact: &Artifact, packages: &Metadata) -> Result<Option<Program>> {
    let Some(executable) = artifact.executable.as_ref().filter(|_| artifact.profile.test) else {
        return Ok(None);
    };
    let package = packages.packages.iter().find(|package| package.id == artifact.package_id);
    let package = &package.context("cargo built a package that it does not know")?.name;
    let (target, kind) = (&artifact.target.name, &artifact.target.kind);
    let is_test = kind.contains(&TargetKind::Test);
    let suite = suite_of(package, is_test.then_some(target))?;
    let title = if kind.contains(&TargetKind::Lib) {
        package.to_string()
    } else {
        format!("{package} {target}")
    };
    let directory = artifact.manifest_path.parent().context("a manifest lies in a directory")?;
    Ok(Some(Program {
        suite,
        title,
        executable: executable.into(),
        directory: directory.as_std_path().to_owned(),
    }))
}

/// The suite of an integration test, or of the tests inside a library or program.
fn suite_of(package: &str, integration: Option<&String>) -> Result<Suite> {
    match (package, integration) {
        (_, None) => Ok(Suite::Unit),
        ("host-relay", Some(_)) => Ok(Suite::Relay),
        (env!("CARGO_PKG_NAME"), Some(target)) => match target.parse() {
            Ok(
                suite @ (Suite::Walls
                | Suite::Rig
                | Suite::Conformance
                | Suite::Guest
                | Suite::System),
            ) => Ok(suite),
            _ => bail!("the test target `{target}` of this package belongs to no suite"),
        },
        _ => Ok(Suite::Unit),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the workspace")
}

#[cfg(test)]
mod tests {
    use super::{Suite, suite_of};

    #[test]
    fn each_target_has_one_suite() {
        let suite = |package, target: Option<&str>| {
            suite_of(package, target.map(ToOwned::to_owned).as_ref()).ok()
        };
        assert_eq!(suite("e2e", None), Some(Suite::Unit));
        assert_eq!(suite("e2e", Some("rig")), Some(Suite::Rig));
        assert_eq!(suite("e2e", Some("walls")), Some(Suite::Walls));
        assert_eq!(suite("e2e", Some("other")), None);
        assert_eq!(suite("host-relay", None), Some(Suite::Unit));
        assert_eq!(suite("host-relay", Some("session")), Some(Suite::Relay));
        assert_eq!(suite("policy-model", Some("wire")), Some(Suite::Unit));
    }
}
