// SPDX-License-Identifier: Apache-2.0
//! Dependencies among our packages point one way, and never from host to guest or back.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{Metadata, MetadataCommand};

use super::root;

/// Of each package, the packages of ours that it may name in its manifest, for whatever purpose.
/// A new package gets its line here, with the reason in the design.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kadapter-proto", &[]),
    ("policy-model", &["kadapter-proto"]),
    // both ends of a session
    ("session-tls", &[]),
    // host
    ("kubesmith", &["kadapter-proto", "policy-model"]),
    ("host-relay", &["kadapter-proto", "policy-model", "session-tls", "kubesmith"]),
    // guest
    ("guest-bpf", &[]),
    ("guest-agent", &["kadapter-proto", "policy-model", "session-tls", "guest-bpf"]),
    // tests, on which nothing else may depend
    ("guest-init", &[]),
    ("attacks", &[]),
    // knows nothing of the product that it is compared with
    ("reference-enforcers", &[]),
    (
        "e2e",
        &[
            "kadapter-proto",
            "policy-model",
            "session-tls",
            "kubesmith",
            "guest-bpf",
            "guest-init",
            "attacks",
        ],
    ),
    (
        "fuzz",
        &[
            "kadapter-proto",
            "policy-model",
            "session-tls",
            "kubesmith",
            "host-relay",
            "guest-bpf",
            "guest-agent",
        ],
    ),
    ("xtask", &["attacks", "e2e"]),
];

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ALLOWED.iter().map(|(name, others)| (*name, others.iter().copied().collect())).collect();
    let metadata = metadata();
    let members = names(&metadata);
    let mut offences = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some(allowed) = allowed.get(name) else {
            offences.push(format!("{name} has no line in ALLOWED"));
            continue;
        };
        // A package may name itself, to have a feature in its own tests.
        let ours = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        for other in ours.filter(|other| members.contains(other) && *other != name) {
            if !allowed.contains(other) {
                offences.push(format!("{name} depends on {other}"));
            }
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn every_line_is_about_a_package() {
    let metadata = metadata();
    let members = names(&metadata);
    let unknown: Vec<_> = ALLOWED.iter().filter(|(name, _)| !members.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn names(metadata: &Metadata) -> BTreeSet<&str> {
    metadata.workspace_packages().into_iter().map(|package| package.name.as_str()).collect()
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.current_dir(root()).no_deps().other_options(["--locked".into()]);
    command.exec().expect("cargo reads the workspace that it builds")
}
