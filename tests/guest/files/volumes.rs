// SPDX-License-Identifier: Apache-2.0
//! Volumes that an atomic writer replaces as a whole, as kubelet writes secrets: what is opened lies
//! in a directory of a name that no policy knows, and the policy speaks of the links to it.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig},
    rootfs::{Rootfs, Running},
};

use super::file_policy;
use crate::steps::{allowed, becomes_allowed, becomes_denied, denied, event_on, sh};

const MOUNTED: &str = "/run/secrets/kubernetes.io/serviceaccount";

/// What the kubelet writes into $1, with a content: a directory of a new name, then the link to it
/// in one step. The name is of the format that it uses, at its longest.
const WRITE: &str = r#"
    write() {
        now=..2026_11_25_03_16_00.$2
        old=$(readlink "$1/..data" || true)
        mkdir "$1/$now"
        echo "$3" | tee "$1/$now/token" "$1/$now/ca.crt" "$1/$now/namespace" > /dev/null
        ln -s "$now" "$1/..data_tmp"
        mv -T "$1/..data_tmp" "$1/..data"
        for file in token ca.crt namespace; do ln -sf "..data/$file" "$1/$file"; done
        if [ -n "$old" ]; then rm -r "$1/$old"; fi
    }
"#;

/// A pod whose container has this directory of the guest at that place.
fn run<'a>(node: &'a Node, pod: &str, (source, at): (&str, &str)) -> Result<Running<'a>> {
    node.pod(pod, "nginx")?;
    let container = Node::container(pod, Rootfs::Busybox).bind(source, at).run(&node.vm)?;
    allowed(&container, "mkdir -p /run/secrets && echo text > /run/secrets/outside")?;
    Ok(container)
}

fn block_directory(path: &str) -> String {
    file_policy("matchDirectories", &[&format!("dir: {path}/")], "Block")
}

#[test]
fn a_rule_on_a_volume_holds_for_what_an_atomic_writer_links_there() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-atomic"))?;
    node.vm.sh(&format!("{WRITE} mkdir /run/links; write /run/links 1234567890 text"))?;
    let web = run(&node, "web", ("/run/links", MOUNTED))?;
    let other = run(&node, "other", ("/run/links", MOUNTED))?;
    node.pod("other", "redis")?;
    allowed(&web, "ln -s ../run /var/run")?;
    let (token, by_link) = (format!("cat {MOUNTED}/token"), format!("cat /var{MOUNTED}/token"));
    allowed(&web, &format!("{token} && {by_link}"))?;

    node.write("files.yaml", &block_directory(MOUNTED))?;
    becomes_denied(&web, &token)?;
    denied(&web, &by_link)?;
    denied(&web, &format!("cat {MOUNTED}/..data/ca.crt"))?;
    denied(&web, &format!("ls {MOUNTED}/..data/"))?;
    allowed(&web, "cat /run/secrets/outside && ls /run/secrets/kubernetes.io")?;
    allowed(&other, &token)?;
    // Another directory, whose name nobody knew when the rule was applied.
    node.vm.sh(&format!("{WRITE} write /run/links 987654321 rotated"))?;
    denied(&web, &token)?;
    ensure!(sh(&other, &token)?.stdout.text() == "rotated\n", "another pod's own view");

    // A single file of it, by the name that the policy's author sees.
    let exact = file_policy("matchPaths", &[&format!("path: {MOUNTED}/token")], "Block");
    node.write("files.yaml", &exact)?;
    becomes_allowed(&web, &format!("cat {MOUNTED}/ca.crt"))?;
    denied(&web, &token)?;
    node.vm.sh(&format!("{WRITE} write /run/links 1 again"))?;
    denied(&web, &token)?;
    allowed(&web, &format!("cat {MOUNTED}/namespace"))?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, &token)
}

#[test]
fn a_rule_on_a_volume_holds_for_plain_files() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-plain"))?;
    // As a runtime that copies what it shares lays it out.
    node.vm.sh("mkdir /run/plain && echo text | tee /run/plain/token /run/plain/ca.crt")?;
    let web = run(&node, "web", ("/run/plain", MOUNTED))?;
    let token = format!("cat {MOUNTED}/token");
    allowed(&web, &token)?;
    node.write("files.yaml", &block_directory(MOUNTED))?;
    becomes_denied(&web, &token)?;
    denied(&web, &format!("cat {MOUNTED}/ca.crt"))?;
    event_on(&node, &format!("{MOUNTED}/token"), "Block")?;
    allowed(&web, "cat /run/secrets/outside")?;
    node.remove("files.yaml")?;
    becomes_allowed(&web, &token)
}

#[test]
fn a_rule_names_the_place_where_the_volume_is_if_var_run_is_no_link() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-var-run"))?;
    node.vm.sh(&format!("{WRITE} mkdir /run/links; write /run/links 1234567890 text"))?;
    let at = format!("/var{MOUNTED}");
    let web = run(&node, "web", ("/run/links", &at))?;
    let token = format!("cat {at}/token");
    allowed(&web, &format!("{token} && test ! -e {MOUNTED}"))?;
    node.write("files.yaml", &block_directory(&at))?;
    becomes_denied(&web, &token)?;
    allowed(&web, "cat /run/secrets/outside")?;
    node.remove("files.yaml")?;
    becomes_allowed(&web, &token)
}

#[test]
fn a_directory_that_no_atomic_writer_has_made_is_what_it_says() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-dots"))?;
    node.vm
        .sh("mkdir -p /run/dots/..old && echo text | tee /run/dots/..old/file /run/dots/file")?;
    let web = run(&node, "web", ("/run/dots", "/data"))?;
    node.write("files.yaml", &block_directory("/data"))?;
    becomes_denied(&web, "cat /data/file")?;
    // Two dots at the front mean nothing by themselves, here or elsewhere.
    allowed(&web, "cat /data/..old/file")?;
    denied(&web, "ls /data/..old")?;
    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /data/file")
}
