// SPDX-License-Identifier: Apache-2.0
//! The shape of source files, of all that git tracks or would.

use std::fs;
use std::path::{Path, PathBuf};

use super::{output, root};

/// Lines of a source file. Longer ones are split by what they own.
const MAX_LINES: usize = 400;

/// Folders and files of the root, beside those whose names begin with a dot.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "guest-agent",
    "guest-kernel",
    "host-relay",
    "images",
    "kata-patches",
    "proto",
    "rust-toolchain.toml",
    "tests",
];

#[test]
fn source_files_are_short() {
    refuse(sources(&["rs", "c", "h"]), |text| {
        let lines = text.lines().count();
        (lines > MAX_LINES).then(|| format!("{lines} lines, allowed are {MAX_LINES}"))
    });
}

#[test]
fn modules_are_named_after_what_they_own() {
    let unnamed: Vec<_> = sources(&["rs"]).filter(|path| path.ends_with("mod.rs")).collect();
    assert!(unnamed.is_empty(), "name them after the module: {unnamed:?}");
}

#[test]
fn rust_files_state_their_licence_and_purpose() {
    refuse(sources(&["rs"]), |text| {
        let mut lines = text.lines();
        if lines.next() != Some("// SPDX-License-Identifier: Apache-2.0") {
            return Some("no SPDX line at the top".into());
        }
        let documented = lines.next().is_some_and(|line| line.starts_with("//! "));
        (!documented).then(|| "no module docs below the SPDX line".into())
    });
}

#[test]
fn c_and_proto_files_state_their_licence() {
    refuse(sources(&["c", "h"]), |text| {
        let stated = "/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */";
        (text.lines().next() != Some(stated)).then(|| "no SPDX line at the top".into())
    });
    refuse(sources(&["proto"]), |text| {
        let stated = "// SPDX-License-Identifier: Apache-2.0";
        (text.lines().next() != Some(stated)).then(|| "no SPDX line at the top".into())
    });
}

#[test]
fn the_root_has_only_what_the_design_names() {
    let mut strangers: Vec<_> = files()
        .filter_map(|path| Some(path.iter().next()?.to_str()?.to_owned()))
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .collect();
    strangers.dedup();
    assert!(strangers.is_empty(), "{strangers:?}");
}

/// Fails with all files that have an offence.
fn refuse(paths: impl Iterator<Item = PathBuf>, offence: impl Fn(&str) -> Option<String>) {
    let offences: Vec<_> = paths
        .filter_map(|path| {
            let text = fs::read_to_string(root().join(&path));
            let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Some(format!("{}: {}", path.display(), offence(&text)?))
        })
        .collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

fn sources(extensions: &[&str]) -> impl Iterator<Item = PathBuf> {
    files().filter(move |path| {
        path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
    })
}

/// Files that git tracks, and those that a commit would add.
fn files() -> impl Iterator<Item = PathBuf> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let names = output("git", &arguments);
    let paths: Vec<_> = names.split_terminator('\0').map(PathBuf::from).collect();
    assert!(!paths.is_empty(), "{} is no checkout", root().display());
    // One that is deleted but not yet committed is still listed.
    paths.into_iter().filter(|path| is_file(path))
}

fn is_file(path: &Path) -> bool {
    root().join(path).is_file()
}
