// SPDX-License-Identifier: Apache-2.0
//! Rules on arguments, where a case of the conformance suite cannot go: names as they are called,
//! chains of scripts, very many arguments, an agent that dies. The cases have the rest.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::{Rootfs, Running},
};
use serde_json::json;

use crate::{
    steps::{allowed, at_level, becomes_allowed, denied, expect_fields, policy, sh},
    takeover::{kill_agent, restart_agent},
};

/// What a shell says of a program that SIGKILL ended.
const KILLED: &str = "status 137";

fn says(container: &Running<'_>, script: &str) -> Result<String> {
    Ok(sh(container, &format!("{script}; echo status $?"))?.stdout.text())
}

fn killed(container: &Running<'_>, script: &str) -> Result<()> {
    let text = says(container, script)?;
    ensure!(text.contains(KILLED), "`{script}` was not killed: {text}");
    Ok(())
}

/// A policy that lets programs have these arguments only.
fn only(paths: &[&str], arguments: &str) -> String {
    let entry = |path: &&str| format!("\n  - path: {path}\n    allowedArgs: [{arguments}]");
    let entries: String = paths.iter().map(entry).collect();
    let spec = format!("process:\n  matchPaths:{entries}\naction: Block");
    at_level(&policy("only", "nginx", &spec), "contained")
}

/// As an interpreter a script has the other one's name for an argument.
const LISTED: &str = "status, /opt/outer, /opt/outermost";

const LAY: &str = "mkdir /opt; cd /opt
    printf '#!/bin/sh\\nexit 0\\n' > tool
    printf '#!/opt/tool\\n' > outer
    printf '#!/opt/outer\\n' > outermost
    chmod +x tool outer outermost";

#[test]
fn arguments_are_known_by_scripts_chains_and_masses_of_them_also_without_an_agent() -> Result<()> {
    let node = Node::start(&NodeConfig::new("arguments"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, LAY)?;
    let many = |count| format!("/opt/tool $(yes status | head -n {count})");
    let ways = ["cd /opt && ./tool stop", "/opt/outer stop", &many(100_000)];
    for way in ways {
        allowed(&web, way)?;
    }
    node.write("only.yaml", &only(&["/opt/tool"], LISTED))?;
    eventually("the rules are in force", || Ok(says(&web, ways[0])?.contains(KILLED)))?;
    let event = node.event("a script that was called by a relative name", |event| {
        event["hook"] == "bprm_committed_creds" && event["resource"] == "/opt/tool"
    })?;
    let argv = json!(["/bin/sh", "./tool", "stop"]);
    expect_fields(&event, &[("action", json!("Block")), ("argv", argv)])?;

    allowed(&web, "cd /opt && ./tool status && PATH=/opt tool status status")?;
    allowed(&web, "/opt/outer status && /opt/outer")?;
    for way in ways {
        killed(&web, way)?;
    }
    allowed(&web, &many(1000))?;
    allowed(&web, "env -i /opt/tool status")?;
    killed(&web, "env -i status=status /opt/tool status=status")?;

    kill_agent(&node)?;
    killed(&web, ways[0])?;
    allowed(&web, "/opt/tool status")?;
    restart_agent(&node)?;
    killed(&web, ways[0])?;
    allowed(&web, "/opt/tool status")?;

    // Two programs of one exec are remembered, of three nobody would know the first.
    let all = ["/opt/tool", "/opt/outer", "/opt/outermost"];
    allowed(&web, "/opt/outermost status")?;
    node.write("only.yaml", &only(&all[..2], LISTED))?;
    eventually("the second rule is in force", || Ok(says(&web, "/opt/outer x")?.contains(KILLED)))?;
    allowed(&web, "/opt/outer status && /opt/outermost status")?;
    node.write("only.yaml", &only(&all, LISTED))?;
    eventually("the third rule is in force", || Ok(!sh(&web, "/opt/outermost status")?.success()))?;
    denied(&web, "/opt/outermost status")?;
    allowed(&web, "/opt/outer status")?;

    node.remove("only.yaml")?;
    becomes_allowed(&web, ways[0])?;
    for way in ways {
        allowed(&web, way)?;
    }
    Ok(())
}
