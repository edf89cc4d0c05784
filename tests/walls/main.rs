// SPDX-License-Identifier: Apache-2.0
//! The walls of the code base, kept by cargo's and git's own lists rather than by goodwill.
//!
//! Who may depend on whom, how much a program may link, what a source file looks like. Each test
//! names all offenders at once, and the way out.

mod closures;
mod dependencies;
mod files;

use std::path::Path;
use std::process::Command;

/// Root of the checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the workspace")
}

/// What a program prints when run at the root.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("cargo and git print the UTF-8 names of this tree")
}

fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}
