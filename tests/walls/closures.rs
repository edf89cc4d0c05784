// SPDX-License-Identifier: Apache-2.0
//! What a package links, by `cargo tree` with the features of its own build.

use std::collections::BTreeSet;

use e2e::suites::measured;

use super::{cargo, output, root};

/// The only target that is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What the pure packages do without: run times, servers, clusters, kernels.
const IMPURE: &[&str] = &["tokio", "tonic", "hyper", "kube", "aya"];

/// What our own licence may be distributed with. CC0 is dedicated to the public.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn the_pure_packages_link_no_runtime() {
    for package in ["policy-model", "kubesmith"] {
        let impure = |name: &&String| IMPURE.iter().any(|crates| is_of(name, crates));
        let closure = closure(package);
        let impure: Vec<_> = closure.iter().filter(impure).collect();
        assert!(impure.is_empty(), "{package} links {impure:?}");
    }
}

#[test]
fn the_agent_links_at_most_120_crates() {
    assert_bounded("guest-agent", 120);
}

#[test]
fn the_relay_links_at_most_300_crates() {
    assert_bounded("host-relay", 300);
}

#[test]
fn the_programs_link_one_cryptography() {
    const OTHERS: &[&str] = &["aws-lc", "openssl", "native-tls", "rcgen"];
    for package in ["guest-agent", "host-relay"] {
        let closure = closure(package);
        let is_other = |name: &&String| OTHERS.iter().any(|others| is_of(name, others));
        let others: Vec<_> = closure.iter().filter(is_other).collect();
        assert!(others.is_empty(), "{package} links {others:?} beside ring");
    }
}

#[test]
fn the_programs_link_what_our_licence_permits_and_what_is_published() {
    for package in ["guest-agent", "host-relay"] {
        let tree = tree(package, "{p}|{l}");
        let lines: BTreeSet<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        let foreign: Vec<_> = lines
            .into_iter()
            .filter(|line| !line.contains(&format!("({}", root().display())))
            .filter(|line| {
                let (of, licence) = line.split_once('|').unwrap_or((line, ""));
                // A crate of the registry has its name and version only, others where they are.
                of.contains('(') || !is_permitted(licence)
            })
            .collect();
        assert!(foreign.is_empty(), "{package} links {foreign:#?}: see LICENCES, or do without");
    }
}

/// Whether one alternative of the expression has permitted licences only. As crates write them: no
/// alternatives within parentheses that others follow.
fn is_permitted(expression: &str) -> bool {
    let mut terms = expression.split(" AND ");
    terms.all(|term| {
        let mut alternatives =
            term.trim_matches(['(', ')']).split(" OR ").flat_map(|it| it.split('/'));
        alternatives.any(|licence| LICENCES.contains(&licence.trim_matches(['(', ')', ' '])))
    })
}

#[test]
fn an_expression_of_licences_is_read_as_written() {
    for (expression, permitted) in [
        ("MIT", true),
        ("MIT OR GPL-3.0-only", true),
        ("GPL-3.0-only OR GPL-2.0-only", false),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("Apache-2.0 AND GPL-2.0-only", false),
        ("", false),
    ] {
        assert_eq!(is_permitted(expression), permitted, "{expression}");
    }
}

fn assert_bounded(package: &str, most: usize) {
    let count = closure(package).len();
    measured(&format!("{package} links {count} crates, allowed are {most}"));
    assert!(count <= most, "{package} links {count} crates, allowed are {most}");
}

/// The crates that a package's program links, without itself: a version each.
fn closure(package: &str) -> BTreeSet<String> {
    let tree = tree(package, "{p}");
    // `name vVERSION (path) (*)`
    let crates = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    let closure: BTreeSet<_> = crates.collect();
    let own = format!("{package} v{}", env!("CARGO_PKG_VERSION"));
    assert!(closure.contains(&own), "cargo tree prints another format: {tree}");
    closure.into_iter().filter(|name| *name != own).collect()
}

fn tree(package: &str, format: &str) -> String {
    output(
        &cargo(),
        &[
            "tree",
            "--locked",
            "--package",
            package,
            "--target",
            TARGET,
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--format",
            format,
        ],
    )
}

/// Whether `name version` is the crate itself or one of its family, as `tokio-util` is of tokio.
fn is_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.starts_with([' ', '-']))
}
