// SPDX-License-Identifier: Apache-2.0
//! Names that change after they were decided on: what was kept of a file must not outlive its name.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig},
    rootfs::Rootfs,
};

use super::{PLANT, file_policy};
use crate::steps::{allowed, becomes_allowed, becomes_denied, denied, sh};

/// Ways under the rule and back: what is done, the name that must be denied, what undoes it. Under the
/// rule the guest goes them: the container may not make names there.
const WAYS: [[&str; 3]; 3] = [
    ["mv /srv/free/file /srv/tree/moved", "/srv/tree/moved", "mv /srv/tree/moved /srv/free/file"],
    ["mv /srv/free /srv/tree/dir", "/srv/tree/dir/file", "mv /srv/tree/dir /srv/free"],
    ["ln /srv/free/file /srv/tree/second", "/srv/tree/second", "rm /srv/tree/second"],
];

/// The file under its own name, twice: the second time from what was kept.
const FREE: &str = "cat /srv/free/file && cat /srv/free/file";

fn a_kept_verdict_ends_with_the_name(config: &NodeConfig, rootfs: Rootfs) -> Result<()> {
    let node = Node::start(config)?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", rootfs).run(&node.vm)?;
    allowed(&web, &format!("{PLANT} && mkdir /srv/free && echo text > /srv/free/file"))?;
    for [there, name, back] in WAYS {
        allowed(&web, &format!("{there} && cat {name} && {back}"))?;
    }

    let block = file_policy("matchDirectories", &["{dir: /srv/tree/, recursive: true}"], "Block");
    node.write("files.yaml", &block)?;
    becomes_denied(&web, "cat /srv/tree/file")?;
    let outside = |step: &str| {
        let root = web.bundle().root();
        node.vm.sh(&step.replace(" /srv/", &format!(" {root}/srv/")))
    };
    for [there, name, back] in WAYS {
        allowed(&web, FREE)?;
        denied(&web, there)?;
        outside(there)?;
        denied(&web, &format!("cat {name}"))?;
        outside(back)?;
        allowed(&web, FREE)?;
    }
    // Both names at once, in turn.
    outside(WAYS[2][0])?;
    for _ in 0..3 {
        allowed(&web, FREE)?;
        denied(&web, "cat /srv/tree/second")?;
    }

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /srv/tree/second && cat /srv/tree/file")
}

#[test]
fn a_kept_verdict_ends_with_the_name_on_tmpfs() -> Result<()> {
    a_kept_verdict_ends_with_the_name(&NodeConfig::new("file-names-tmpfs"), Rootfs::Busybox)
}

#[test]
fn a_kept_verdict_ends_with_the_name_on_ext4() -> Result<()> {
    a_kept_verdict_ends_with_the_name(
        &NodeConfig::new("file-names-ext4").debian(),
        Rootfs::DebianExt4,
    )
}

#[test]
fn a_kept_verdict_ends_with_the_name_on_an_overlay() -> Result<()> {
    a_kept_verdict_ends_with_the_name(
        &NodeConfig::new("file-names-overlay").debian(),
        Rootfs::DebianOverlay,
    )
}

/// Around the words that names are read in, and the longest.
const LENGTHS: [usize; 12] = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 255];

/// A name of that length, and two that differ from it in a letter: the last, and the middle one, which
/// a long name's bit in the filter does not tell apart.
fn names_of(length: usize) -> [String; 3] {
    let name = "n".repeat(length);
    let mut other = name.clone();
    other.replace_range(length / 2..=length / 2, "o");
    [name.clone(), name[1..].to_owned() + "l", other]
}

#[test]
fn names_of_every_length_are_told_apart() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-name-lengths"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "mkdir -p /srv/names && echo text > /srv/names/before && cat /srv/names/before")?;
    let names = LENGTHS.map(names_of);
    let entries: Vec<_> =
        names.iter().map(|[name, ..]| format!("{{path: /srv/names/{name}}}")).collect();
    let entries: Vec<_> = entries.iter().map(String::as_str).collect();
    // Files that come after the rules are found by their names alone.
    let make = names.iter().flatten().fold(String::new(), |script, name| {
        format!("{script}echo {} > {}/srv/names/{name}\n", name.len(), web.bundle().root())
    });

    node.write("files.yaml", &file_policy("matchPaths", &entries, "Block"))?;
    becomes_denied(&web, "echo > /srv/names/n")?;
    node.vm.sh(&make)?;
    let ruled: Vec<_> = names.iter().map(|[name, ..]| name.as_str()).collect();
    let others: Vec<_> = names.iter().flat_map(|[_, rest @ ..]| rest).map(String::as_str).collect();
    let each = |names: &[&str], does: &str| {
        format!("cd /srv/names; for name in {}; do {does}; done", names.join(" "))
    };
    let output = sh(&web, &each(&ruled, "cat $name; mv before $name"))?;
    let denials = output.stderr.text().to_lowercase().matches("permission denied").count();
    let all = 2 * ruled.len();
    ensure!(denials == all, "{denials} of {all} were denied: {}", output.stderr.text());
    ensure!(output.stdout.text().is_empty(), "read: {}", output.stdout.text());
    allowed(&web, &each(&others, "cat $name || exit 1"))?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /srv/names/n")?;
    allowed(&web, &each(&ruled, "cat $name || exit 1"))
}
