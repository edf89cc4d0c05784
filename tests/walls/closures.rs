// SPDX-License-Identifier: Apache-2.0
//! What a package links, by `cargo tree` with the features of its own build.

use std::collections::BTreeSet;

use e2e::suites::measured;

use super::{cargo, output};

/// The only target that is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What the pure packages do without: run times, servers, clusters, kernels.
const IMPURE: &[&str] = &["tokio", "tonic", "hyper", "kube", "aya"];

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

fn assert_bounded(package: &str, most: usize) {
    let count = closure(package).len();
    measured(&format!("{package} links {count} crates, allowed are {most}"));
    assert!(count <= most, "{package} links {count} crates, allowed are {most}");
}

/// The crates that a package's program links, without itself: a version each.
fn closure(package: &str) -> BTreeSet<String> {
    let tree = output(
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
            "{p}",
        ],
    );
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

/// Whether `name version` is the crate itself or one of its family, as `tokio-util` is of tokio.
fn is_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.starts_with([' ', '-']))
}
