// SPDX-License-Identifier: Apache-2.0
//! A blocked program stays blocked under other names, and only that program.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig},
    rootfs::{Capabilities, Rootfs, Running},
};
use serde_json::json;

use crate::{
    steps::{
        allowed, at_level, becomes_allowed, becomes_denied, block_program, denied, event_on,
        expect_fields,
    },
    takeover::{kill_agent, restart_agent},
};

/// The dynamic loader of Debian.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Ways to another name that a root in the container has, each with the name that it makes.
fn ways(by: &str) -> Vec<(String, String)> {
    [
        ("true", "/usr/bin/linked"),
        ("ln -sf /usr/bin/apt /tmp/symlink", "/tmp/symlink"),
        ("mkdir -p /mnt/b && mount --bind /usr/bin /mnt/b", "/mnt/b/apt"),
        ("true", "/proc/self/root/usr/bin/apt"),
        ("true", "chroot / /usr/bin/apt"),
        ("true", "unshare -m /usr/bin/apt"),
    ]
    .map(|(make, name)| (make.to_owned(), format!("{name} {by}")))
    .into()
}

fn with_all_capabilities<'vm>(node: &'vm Node, rootfs: Rootfs) -> Result<Running<'vm>> {
    Node::container("web", rootfs).capabilities(Capabilities::All).run(&node.vm)
}

/// Blocks apt in a Debian container, goes every way, and takes the block back.
fn goes_every_way_around(name: &str, rootfs: Rootfs) -> Result<()> {
    let node = Node::start(&NodeConfig::new(name).debian())?;
    node.pod("web", "nginx")?;
    let web = with_all_capabilities(&node, rootfs)?;
    allowed(&web, "/usr/bin/apt --version")?;
    allowed(&web, &format!("{LOADER} /usr/bin/apt --version"))?;
    allowed(&web, "ln /usr/bin/apt /usr/bin/linked")?;

    node.write("block.yaml", &block_program("no-apt", "nginx", "/usr/bin/apt"))?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    denied_by_the_loader(&web, "/usr/bin/apt")?;
    // What has another name already may not get one more.
    for make in ["ln /usr/bin/apt /usr/bin/second", "mv /usr/bin/linked /usr/bin/moved"] {
        denied(&web, make)?;
    }
    for (make, run) in ways("--version") {
        allowed(&web, &make)?;
        denied(&web, &run)?;
    }
    // The inode may be forgotten, the identity not.
    node.vm.sh("echo 3 > /proc/sys/vm/drop_caches")?;
    denied(&web, "/usr/bin/linked --version")?;
    denied_by_the_loader(&web, "/usr/bin/linked")?;
    // Another program under the blocked name is what the author wrote.
    allowed(&web, "rm /usr/bin/apt && cp /usr/bin/true /usr/bin/apt && /usr/bin/true")?;
    denied(&web, "/usr/bin/apt")?;

    let event = node.event("a denied exec", |event| {
        event["resource"] == "/usr/bin/linked" && event["hook"] == "file_open"
    })?;
    expect_fields(&event, &[("policyNames", json!(["no-apt"])), ("action", json!("Block"))])?;
    ensure!(event["ruleIDs"].as_array().is_some_and(|rules| rules.len() == 1), "{event:#}");

    node.remove("block.yaml")?;
    becomes_allowed(&web, "/usr/bin/linked --version")
}

/// The loader maps what it could not execute; it reports that in words of its own.
fn denied_by_the_loader(container: &Running<'_>, program: &str) -> Result<()> {
    denied(container, &format!("{LOADER} {program} --version")).or_else(|_| {
        let output = container.exec(&[LOADER, program, "--version"])?;
        let text = output.stderr.text();
        ensure!(!output.success() && text.contains("failed to map segment"), "{text}");
        Ok(())
    })
}

#[test]
fn no_way_leads_around_a_blocked_program_on_an_overlay() -> Result<()> {
    goes_every_way_around("ways-overlay", Rootfs::DebianOverlay)
}

#[test]
fn no_way_leads_around_a_blocked_program_on_ext4() -> Result<()> {
    goes_every_way_around("ways-ext4", Rootfs::DebianExt4)
}

#[test]
fn a_literal_policy_holds_for_the_name_alone() -> Result<()> {
    let node = Node::start(&NodeConfig::new("literal").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    let block = block_program("no-apt", "nginx", "/usr/bin/apt");
    node.write("block.yaml", &at_level(&block, "literal"))?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    let event = event_on(&node, "/usr/bin/apt", "Block")?;
    expect_fields(&event, &[("hook", json!("bprm_check_security"))])?;
    allowed(&web, "ln /usr/bin/apt /usr/bin/linked && /usr/bin/linked --version")?;
    allowed(&web, "mv /usr/bin/apt /usr/bin/moved && /usr/bin/moved --version")?;
    // Back under its name it is blocked again.
    allowed(&web, "mv /usr/bin/moved /usr/bin/apt")?;
    denied(&web, "/usr/bin/apt --version")
}

#[test]
fn a_blocked_applet_leaves_the_others_alone() -> Result<()> {
    let node = Node::start(&NodeConfig::new("applet"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "/bin/ls / && /bin/cat /etc/passwd && /bin/busybox true")?;

    node.write("block.yaml", &block_program("no-ls", "nginx", "/bin/ls"))?;
    becomes_denied(&web, "/bin/ls /")?;
    allowed(&web, "/bin/cat /etc/passwd && /bin/busybox true && /usr/bin/id")?;
    let event = event_on(&node, "/bin/ls", "Block")?;
    expect_fields(&event, &[("hook", json!("bprm_check_security"))])?;
    // Identity would have taken every applet: refused by rule, and said so.
    node.relay_log().wait("the residue", |line| {
        line.contains("names") && line.contains("/bin/ls") && line.contains("residue")
    })?;

    node.remove("block.yaml")?;
    becomes_allowed(&web, "/bin/ls /")
}

#[test]
fn mapping_a_blocked_program_into_memory_is_reported() -> Result<()> {
    let node = Node::start(&NodeConfig::new("map").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    let load = format!("{LOADER} /usr/bin/apt --version");
    allowed(&web, &load)?;
    // At a higher level the program is not even opened.
    let block = block_program("no-apt", "nginx", "/usr/bin/apt");
    node.write("block.yaml", &at_level(&block, "base"))?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    denied_by_the_loader(&web, "/usr/bin/apt")?;
    let event = node.event("a denied map", |event| event["hook"] == "mmap_file")?;
    let what = [
        ("resource", json!("/usr/bin/apt")),
        ("operation", json!("Process")),
        ("action", json!("Block")),
        ("policyNames", json!(["no-apt"])),
    ];
    expect_fields(&event, &what)?;
    node.remove("block.yaml")?;
    becomes_allowed(&web, &load)
}

#[test]
fn a_copy_of_a_blocked_program_is_blocked_too() -> Result<()> {
    let node = Node::start(&NodeConfig::new("copies").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    allowed(&web, "mkdir /opt/d && cp /usr/bin/apt /opt/d/copy && /opt/d/copy --version")?;
    allowed(&web, "cp /usr/bin/apt /dev/shm/copy")?;
    allowed(&web, "cp /usr/bin/apt /opt/d/other && printf x >> /opt/d/other")?;

    // At a higher level nobody makes a copy.
    let block = block_program("no-apt", "nginx", "/usr/bin/apt");
    node.write("block.yaml", &at_level(&block, "base"))?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    denied(&web, "/opt/d/copy --version")?;
    denied_by_the_loader(&web, "/opt/d/copy")?;
    denied(&web, "mv /opt/d/copy /opt/d/moved")?;
    // Another content is another program.
    allowed(&web, "/opt/d/other --version")?;
    event_on(&node, "/opt/d/copy", "Block")?;

    // A copy that a policy comes after is found by the next one.
    allowed(&web, "cp /usr/bin/apt /opt/d/later && /opt/d/later --version")?;
    node.write("more.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    becomes_denied(&web, "/usr/bin/id")?;
    denied(&web, "/opt/d/later --version")?;
    denied(&web, "/opt/d/copy --version")?;
    allowed(&web, "/opt/d/other --version")?;

    node.remove("block.yaml")?;
    becomes_allowed(&web, "/opt/d/copy --version && /opt/d/later --version")
}

#[test]
fn a_program_that_was_moved_away_stays_blocked_by_the_next_rule_set() -> Result<()> {
    let node = Node::start(&NodeConfig::new("carried").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    // Not the image's: a twin that is still under its name would be found again.
    allowed(
        &web,
        "mkdir /opt/tools && cp /usr/bin/apt /opt/tools/apt && printf x >> /opt/tools/apt",
    )?;
    allowed(&web, "/opt/tools/apt --version")?;
    node.write("block.yaml", &block_program("no-apt", "nginx", "/opt/tools/apt"))?;
    becomes_denied(&web, "/opt/tools/apt --version")?;
    allowed(&web, "mv /opt/tools /opt/moved")?;
    denied(&web, "/opt/moved/apt --version")?;

    let unrelated = |program: &str| {
        node.write("more.yaml", &block_program("more", "nginx", program))?;
        becomes_denied(&web, program)
    };
    unrelated("/usr/bin/id")?;
    denied(&web, "/opt/moved/apt --version")?;
    // Neither the name nor the agent that found it is there any more.
    kill_agent(&node)?;
    node.vm.sh("echo 3 > /proc/sys/vm/drop_caches")?;
    restart_agent(&node)?;
    unrelated("/usr/bin/whoami")?;
    denied(&web, "/opt/moved/apt --version")?;
    // What has the name now is blocked as well, and both at once.
    allowed(&web, "mkdir /opt/tools && cp /usr/bin/true /opt/tools/apt")?;
    unrelated("/usr/bin/tac")?;
    denied(&web, "/opt/tools/apt")?;
    denied(&web, "mv /opt/tools/apt /opt/tools/new")?;
    denied(&web, "/opt/moved/apt --version")?;

    node.remove("block.yaml")?;
    becomes_allowed(&web, "/opt/moved/apt --version && /opt/tools/apt")
}
