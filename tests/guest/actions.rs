// SPDX-License-Identifier: Apache-2.0
//! One test per action, each with its event field by field.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig},
    rootfs::Rootfs,
};
use serde_json::{Value, json};

use crate::steps::{
    allowed, becomes_allowed, becomes_denied, block_program, denied, event_on, expect_fields,
    is_exec_denied, policy, sh,
};

/// Fields that say who did it, for a shell started by `runc exec` in the pod `web`.
fn by_shell_of_web() -> Vec<(&'static str, Value)> {
    vec![
        ("namespace", json!("shop")),
        ("pod", json!("web")),
        ("container", json!("main")),
        ("containerID", json!("web")),
        ("uid", json!(0)),
        ("cwd", json!("/")),
        ("tty", json!("")),
        ("truncated", json!(false)),
        ("droppedBefore", json!(0)),
        ("enforcer", json!("BPFLSM")),
    ]
}

fn expect(event: &Value, who: Vec<(&str, Value)>, what: &[(&str, Value)]) -> Result<()> {
    expect_fields(event, &who)?;
    expect_fields(event, what)?;
    ensure!(event["pid"].as_u64() > Some(1) && event["containerPID"].as_u64() > Some(0));
    ensure!(event["sequence"].as_u64() >= Some(1) && event["generation"].as_u64() >= Some(1));
    ensure!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event:#}");
    Ok(())
}

#[test]
fn a_blocked_program_runs_before_and_after_its_policy_only() -> Result<()> {
    let node = Node::start(&NodeConfig::new("block").debian())?;
    node.pod("web", "nginx")?;
    node.pod("other", "redis")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    let other = Node::container("other", Rootfs::DebianOverlay).run(&node.vm)?;
    allowed(&web, "apt --version; true")?;
    allowed(&other, "apt --version")?;

    node.write("block.yaml", &block_program("no-apt", "nginx", "/usr/bin/apt"))?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    allowed(&web, "/usr/bin/apt-get --version")?;
    allowed(&other, "/usr/bin/apt --version")?;
    ensure!(is_exec_denied(&sh(&web, "/usr/bin/apt --version; exit $?")?));

    let event = event_on(&node, "/usr/bin/apt", "Block")?;
    let what = [
        ("policyNames", json!(["no-apt"])),
        ("operation", json!("Process")),
        ("processName", json!("/usr/bin/apt")),
        ("source", json!("/usr/bin/dash")),
        ("result", json!("Permission denied")),
        ("reason", json!("Rule")),
        ("hook", json!("file_open")),
        ("data", json!("lsm=FILE_OPEN")),
        ("errno", json!(13)),
        ("comm", json!("sh")),
    ];
    expect(&event, by_shell_of_web(), &what)?;
    // The author's rule by name, and the one by identity that hardening added.
    ensure!(event["ruleIDs"].as_array().is_some_and(|rules| rules.len() == 2), "{event:#}");

    node.remove("block.yaml")?;
    becomes_allowed(&web, "/usr/bin/apt --version")
}

#[test]
fn an_audited_program_runs_and_is_reported() -> Result<()> {
    let node = Node::start(&NodeConfig::new("audit"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "/bin/ls /")?;
    ensure!(node.events().all().is_empty(), "an event without a policy");

    let audit = "severity: 4\nmessage: somebody looks around\ntags: [MITRE, recon]\n\
                 process:\n  matchPaths:\n  - path: /bin/ls\naction: Audit";
    node.write("audit.yaml", &policy("see-ls", "nginx", audit))?;
    node.applied("web", 2)?;
    allowed(&web, "/bin/ls /")?;
    let event = event_on(&node, "/bin/ls", "Audit")?;
    let what = [
        ("policyNames", json!(["see-ls"])),
        ("severity", json!(4)),
        ("message", json!("somebody looks around")),
        ("tags", json!(["MITRE", "recon"])),
        ("operation", json!("Process")),
        ("source", json!("/bin/sh")),
        ("result", json!("Passed")),
        ("reason", json!("Rule")),
        ("hook", json!("bprm_check_security")),
        ("errno", json!(0)),
    ];
    expect(&event, by_shell_of_web(), &what)?;

    node.remove("audit.yaml")?;
    node.applied("web", 3)?;
    let before = node.events().all().len();
    allowed(&web, "/bin/ls /")?;
    ensure!(node.events().all().len() == before, "an event after the policy is gone");
    Ok(())
}

#[test]
fn an_allow_rule_with_posture_block_denies_all_else() -> Result<()> {
    let mut config = NodeConfig::new("allow");
    config.relay_args = vec!["--default-file-posture".into(), "block".into()];
    let node = Node::start(&config)?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "/bin/ls / && /bin/cat /etc/passwd")?;

    let allow = "process:\n  matchPaths:\n  - path: /bin/sh\n  - path: /bin/ls\naction: Allow";
    node.write("allow.yaml", &policy("only-ls", "nginx", allow))?;
    becomes_denied(&web, "/bin/cat /etc/passwd")?;
    allowed(&web, "/bin/ls /")?;
    let event = event_on(&node, "/bin/cat", "Block")?;
    let what = [
        ("policyNames", json!(["DefaultPosture"])),
        ("severity", json!(0)),
        ("message", json!("")),
        ("tags", json!([])),
        ("ruleIDs", json!([])),
        ("operation", json!("Process")),
        ("source", json!("/bin/sh")),
        ("result", json!("Permission denied")),
        ("reason", json!("Posture")),
        ("hook", json!("bprm_check_security")),
        ("errno", json!(13)),
    ];
    expect(&event, by_shell_of_web(), &what)?;
    denied(&web, "/usr/bin/id")?;

    node.remove("allow.yaml")?;
    becomes_allowed(&web, "/bin/cat /etc/passwd")
}

#[test]
fn a_file_whitelist_on_an_overlay_admits_what_it_names() -> Result<()> {
    let mut config = NodeConfig::new("whitelist").debian();
    config.relay_args = vec!["--default-file-posture".into(), "block".into()];
    let node = Node::start(&config)?;
    node.pod("web", "nginx")?;
    // In force before the container starts: the runtime's own opens are not the container's.
    let allow = "file:\n  matchDirectories:\n  - dir: /usr/\n    recursive: true\n  - dir: /etc/\n    \
                 recursive: true\n  - dir: /dev/\n  matchPaths:\n  - path: /root/allowed\naction: Allow";
    node.write("allow.yaml", &policy("some-files", "nginx", allow))?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    // From the lower layer, from the upper one, and through a pipe, which no rule can name.
    allowed(&web, "cat /etc/passwd | cat /dev/stdin > /dev/null")?;
    allowed(&web, "echo x > /root/allowed && cat /root/allowed")?;
    denied(&web, "cat /var/lib/dpkg/status")?;
    denied(&web, "echo x > /root/other")?;
    let event = event_on(&node, "/var/lib/dpkg/status", "Block")?;
    let what = [
        ("policyNames", json!(["DefaultPosture"])),
        ("operation", json!("File")),
        ("source", json!("/usr/bin/cat")),
        ("hook", json!("file_open")),
    ];
    expect_fields(&event, &what)?;
    node.remove("allow.yaml")?;
    becomes_allowed(&web, "cat /var/lib/dpkg/status > /dev/null")
}
