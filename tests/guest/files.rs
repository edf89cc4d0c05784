// SPDX-License-Identifier: Apache-2.0
//! Rules on files: by path, by directory, by who asks.

mod names;
mod paths;
mod volumes;
mod whitelist;

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::{Rootfs, Running},
};
use serde_json::json;

use crate::steps::{
    allowed, becomes_allowed, becomes_denied, denied, event_on, expect_fields, policy,
};

/// A file on each of three floors of a tree, with contents of their own: equal ones are held as one.
pub(crate) const PLANT: &str = "mkdir -p /srv/tree/sub/deep && echo text > /srv/tree/file && \
                                echo inner > /srv/tree/sub/file && \
                                echo deepest > /srv/tree/sub/deep/file";

/// The container of a pod `web` that has labels of policies for `nginx`, with the tree in it.
fn planted(node: &Node) -> Result<Running<'_>> {
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, PLANT)?;
    Ok(web)
}

/// A policy for `nginx` with these entries of a list of the section `file`.
pub(crate) fn file_policy(list: &str, entries: &[&str], action: &str) -> String {
    let entries = entries.iter().fold(String::new(), |text, entry| text + "\n  - " + entry);
    policy("files", "nginx", &format!("file:\n  {list}:{entries}\naction: {action}"))
}

#[test]
fn a_blocked_file_is_neither_read_nor_written_and_its_neighbours_are() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-path"))?;
    let web = planted(&node)?;
    allowed(&web, "cat /srv/tree/file && echo more >> /srv/tree/file")?;

    let block = file_policy("matchPaths", &["{path: /srv/tree/file, severity: 7}"], "Block");
    node.write("files.yaml", &block)?;
    // Neither by an applet of the shell itself nor in its place.
    becomes_denied(&web, "/bin/cat /srv/tree/file; exit $?")?;
    denied(&web, "echo more >> /srv/tree/file")?;
    denied(&web, "echo instead > /srv/tree/file")?;
    allowed(&web, "cat /srv/tree/sub/file && ls /srv/tree && echo new > /srv/tree/file2")?;

    let event = event_on(&node, "/srv/tree/file", "Block")?;
    expect_fields(
        &event,
        &[
            ("namespace", json!("shop")),
            ("pod", json!("web")),
            ("container", json!("main")),
            ("containerID", json!("web")),
            ("policyNames", json!(["files"])),
            ("severity", json!(7)),
            ("operation", json!("File")),
            ("source", json!("/bin/cat")),
            ("processName", json!("/bin/cat")),
            ("parentProcessName", json!("/bin/sh")),
            ("comm", json!("cat")),
            ("argv", json!(["/bin/cat", "/srv/tree/file"])),
            ("cwd", json!("/")),
            ("tty", json!("")),
            ("uid", json!(0)),
            ("result", json!("Permission denied")),
            ("reason", json!("Rule")),
            ("hook", json!("file_open")),
            ("data", json!("lsm=FILE_OPEN")),
            ("errno", json!(13)),
            ("generation", json!(2)),
            ("truncated", json!(false)),
            ("enforcer", json!("BPFLSM")),
        ],
    )?;
    // The author's rule by name, and the one by identity that hardening added.
    ensure!(event["ruleIDs"].as_array().is_some_and(|rules| rules.len() == 2), "{event:#}");

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /srv/tree/file")?;
    // What was denied has not happened in part either.
    allowed(&web, "test \"$(tr '\\n' , < /srv/tree/file)\" = text,more,")?;
    allowed(&web, "echo more >> /srv/tree/file")
}

#[test]
fn a_directory_is_itself_and_its_children_and_nothing_deeper() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-directory"))?;
    let web = planted(&node)?;
    let children = ["cat /srv/tree/file", "ls /srv/tree", "ls /srv/tree/sub"];
    for child in children {
        allowed(&web, child)?;
    }

    let block = file_policy("matchDirectories", &["dir: /srv/tree/"], "Block");
    node.write("files.yaml", &block)?;
    becomes_denied(&web, "cat /srv/tree/file")?;
    for child in children {
        denied(&web, child)?;
    }
    allowed(&web, "cat /srv/tree/sub/file && cat /srv/tree/sub/deep/file && ls /srv")?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /srv/tree/file && ls /srv/tree/sub")
}

/// More components than upstream's walk takes before it drops the first ones.
const ABYSS: &str = "/srv/tree/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/\
                     26/27/28/29/30/31/32/33/34/35/36/37/38/39/40/41/42/43/44";

#[test]
fn a_recursive_directory_is_all_that_ever_comes_to_lie_in_it() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-recursive"))?;
    let web = planted(&node)?;
    let abyss = format!("cat {ABYSS}/file");
    allowed(&web, &format!("mkdir -p {ABYSS} && echo text > {ABYSS}/file && {abyss}"))?;
    allowed(&web, "cp -r /srv/tree /srv/tree2 && cat /srv/tree/sub/deep/file")?;

    let block = file_policy("matchDirectories", &["{dir: /srv/tree/, recursive: true}"], "Block");
    node.write("files.yaml", &block)?;
    becomes_denied(&web, "cat /srv/tree/file")?;
    for inside in ["cat /srv/tree/sub/deep/file", "ls /srv/tree/sub", &abyss] {
        denied(&web, inside)?;
    }
    let later = format!("{}/srv/tree/sub/later", web.bundle().root());
    node.vm.sh(&format!("mkdir {later} && echo text > {later}/file"))?;
    denied(&web, "cat /srv/tree/sub/later/file")?;
    denied(&web, "echo text > /srv/tree/sub/own")?;
    allowed(&web, "cat /srv/tree2/file && cat /srv/tree2/sub/deep/file")?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, &abyss)?;
    allowed(&web, "cat /srv/tree/sub/later/file")
}

#[test]
fn the_deepest_directory_and_then_the_exact_path_decide() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-deepest"))?;
    let web = planted(&node)?;
    let floors = ["cat /srv/tree/file", "cat /srv/tree/sub/file", "cat /srv/tree/sub/deep/file"];
    for floor in floors {
        allowed(&web, floor)?;
    }

    let directories = [
        "{dir: /srv/tree/, recursive: true}",
        "{dir: /srv/tree/sub/, recursive: true, action: Audit}",
        "{dir: /srv/tree/sub/deep/, recursive: true}",
    ];
    node.write("files.yaml", &file_policy("matchDirectories", &directories, "Block"))?;
    becomes_denied(&web, floors[0])?;
    allowed(&web, floors[1])?;
    let event = event_on(&node, "/srv/tree/sub/file", "Audit")?;
    expect_fields(&event, &[("reason", json!("Rule")), ("result", json!("Passed"))])?;
    denied(&web, floors[2])?;

    let exact = policy(
        "exact",
        "nginx",
        "file:\n  matchPaths:\n  - path: /srv/tree/sub/deep/file\naction: Allow",
    );
    node.write("exact.yaml", &exact)?;
    becomes_allowed(&web, floors[2])?;
    denied(&web, "ls /srv/tree/sub/deep")?;
    denied(&web, floors[0])?;

    node.remove("exact.yaml")?;
    node.remove("files.yaml")?;
    becomes_allowed(&web, floors[0])?;
    allowed(&web, floors[2])
}

/// Reads a file with a builtin for as long as it may, and tells when it may not.
const READER: &str = "until ! read -r line < /srv/secret; do sleep 0.1; done; echo > /srv/denied; \
                      exec sleep infinity";

#[test]
fn a_source_is_the_program_that_a_process_runs_now() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-source").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay)
        .args(&["/usr/bin/dash", "-c", &format!("echo text > /srv/secret; {READER}")])
        .run(&node.vm)?;
    let by_sources = [
        "cat /srv/secret",
        "exec cat /srv/secret",
        "env cat /srv/secret",
        "read -r line < /srv/secret",
    ];
    for by_source in by_sources {
        allowed(&web, by_source)?;
    }

    let sources = "{path: /srv/secret, fromSource: [{path: /usr/bin/cat}, {path: /usr/bin/dash}]}";
    node.write("files.yaml", &file_policy("matchPaths", &[sources], "Block"))?;
    becomes_denied(&web, "cat /srv/secret")?;
    for by_source in by_sources {
        denied(&web, by_source)?;
    }
    // One that ran before the rule came is no exception.
    eventually("the first process is denied", || {
        Ok(node.vm.exec(&["test", "-e", &format!("{}/srv/denied", web.bundle().root())])?.success())
    })?;
    // A shell that becomes another program is that program.
    allowed(&web, "head /srv/secret && exec head /srv/secret")?;
    let event = event_on(&node, "/srv/secret", "Block")?;
    ensure!(event["policyNames"] == json!(["files"]), "{event:#}");

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /srv/secret")
}
