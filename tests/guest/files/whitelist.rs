// SPDX-License-Identifier: Apache-2.0
//! An Allow rule makes the files of a container a whitelist.

use anyhow::{Result, ensure};
use e2e::node::{Node, NodeConfig};
use serde_json::json;

use super::{file_policy, planted};
use crate::steps::{allowed, becomes_allowed, becomes_denied, denied, event_on, expect_fields, sh};

#[test]
fn a_whitelist_denies_other_files_and_lets_pipes_pass() -> Result<()> {
    let mut config = NodeConfig::new("file-whitelist");
    config.relay_args = vec!["--default-file-posture".into(), "block".into()];
    let node = Node::start(&config)?;
    let web = planted(&node)?;
    allowed(&web, "cat /etc/passwd /srv/tree/sub/file")?;

    // Programs are files too: they are opened to be executed.
    let directories = ["{dir: /srv/tree/, recursive: true}", "{dir: /bin/}", "{dir: /usr/bin/}"];
    node.write("files.yaml", &file_policy("matchDirectories", &directories, "Allow"))?;
    becomes_denied(&web, "/bin/cat /etc/passwd")?;
    denied(&web, "echo text > /tmp/new")?;
    allowed(&web, "/bin/cat /srv/tree/file /srv/tree/sub/deep/file")?;

    let event = event_on(&node, "/etc/passwd", "Block")?;
    expect_fields(
        &event,
        &[
            ("policyNames", json!(["DefaultPosture"])),
            ("severity", json!(0)),
            ("tags", json!([])),
            ("message", json!("")),
            ("ruleIDs", json!([])),
            ("operation", json!("File")),
            ("source", json!("/bin/cat")),
            ("reason", json!("Posture")),
            ("result", json!("Permission denied")),
            ("errno", json!(13)),
        ],
    )?;
    for pipe in ["/proc/self/fd/1", "/dev/stdout"] {
        let output = sh(&web, &format!("cat /srv/tree/file > {pipe}"))?;
        ensure!(output.success(), "{pipe}: {}", output.stderr.text());
        ensure!(output.stdout.text() == "text\n", "{pipe}: {}", output.stdout.text());
    }
    allowed(&web, "echo text | cat | grep -q text")?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /etc/passwd && echo text > /tmp/new")
}
