// SPDX-License-Identifier: Apache-2.0
//! Hardening primitives, one by one: what a level refuses works without it, before and after, and
//! the event names the primitive and the policy whose level asked for it.

use anyhow::Result;
use e2e::{
    node::{Node, NodeConfig},
    rootfs::{Capabilities, Rootfs, Running},
};
use serde_json::{Value, json};

use crate::steps::{
    allowed, at_level, becomes_allowed, becomes_denied, block_program, denied, expect_fields,
    policy, sh,
};

/// A step that a level refuses.
struct Refused {
    step: &'static str,
    /// Takes back what the step does where it may.
    undo: &'static str,
    /// What the event says.
    primitive: &'static str,
    hook: &'static str,
    reason: &'static str,
}

fn debian<'vm>(node: &'vm Node) -> Result<Running<'vm>> {
    node.pod("web", "nginx")?;
    Node::container("web", Rootfs::DebianOverlay).capabilities(Capabilities::All).run(&node.vm)
}

/// Allowed before, refused at the level and reported, allowed after.
fn goes_through(node: &Node, web: &Running<'_>, level: &str, steps: &[Refused]) -> Result<()> {
    for refused in steps {
        allowed(web, refused.step)?;
        allowed(web, refused.undo)?;
    }
    node.write("block.yaml", &at_level(&block_program("no-apt", "nginx", "/usr/bin/apt"), level))?;
    becomes_denied(web, "/usr/bin/apt --version")?;
    for Refused { step, primitive, hook, reason, .. } in steps {
        is_refused(web, step)?;
        let event = node.event(&format!("{primitive} by {hook} for `{step}`"), |event| {
            event["primitive"] == *primitive && event["hook"] == *hook
        })?;
        let policies = json!(["no-apt"]);
        let why =
            [("reason", json!(reason)), ("action", json!("Block")), ("policyNames", policies)];
        expect_fields(&event, &why)?;
    }
    node.remove("block.yaml")?;
    becomes_allowed(web, "/usr/bin/apt --version")?;
    for refused in steps {
        allowed(web, refused.step)?;
        allowed(web, refused.undo)?;
    }
    Ok(())
}

/// It fails for want of permission, whichever of the two the kernel calls it.
fn is_refused(web: &Running<'_>, step: &str) -> Result<()> {
    let output = sh(web, step)?;
    let text = output.stderr.text().to_lowercase();
    // mount(8) takes the error for a device that may only be read, and tries that.
    let says = ["permission denied", "not permitted", "cannot mount none read-only"];
    let refused = says.iter().any(|words| text.contains(words));
    anyhow::ensure!(!output.success() && refused, "`{step}` was not refused: {text}");
    Ok(())
}

const NAME_GUARDS: [Refused; 4] = [
    Refused {
        step: "mv /usr/bin/apt /usr/bin/moved",
        undo: "mv /usr/bin/moved /usr/bin/apt",
        primitive: "name-guard",
        hook: "path_rename",
        reason: "Rule",
    },
    Refused {
        step: "ln /usr/bin/apt /usr/bin/linked",
        undo: "rm /usr/bin/linked",
        primitive: "name-guard",
        hook: "path_link",
        reason: "Rule",
    },
    Refused {
        step: "cp /usr/bin/apt /usr/bin/new && mv /usr/bin/new /usr/bin/apt",
        undo: "true",
        primitive: "name-guard",
        hook: "path_rename",
        reason: "Rule",
    },
    Refused {
        step: "cp /usr/bin/umount /root/umount && mount -t tmpfs none /usr/bin && /root/umount /usr/bin",
        undo: "true",
        primitive: "covering-mount",
        hook: "sb_mount",
        reason: "Hardening",
    },
];

#[test]
fn at_base_a_blocked_program_keeps_its_name() -> Result<()> {
    let node = Node::start(&NodeConfig::new("level-base").debian())?;
    let web = debian(&node)?;
    goes_through(&node, &web, "base", &NAME_GUARDS)?;
    // The text that the users know, and other names are nobody's business.
    let block = at_level(&block_program("no-apt", "nginx", "/usr/bin/apt"), "base");
    node.write("block.yaml", &block)?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    let moved = sh(&web, "mv /usr/bin/apt /usr/bin/manipulated-apt")?;
    let expected =
        "mv: cannot move '/usr/bin/apt' to '/usr/bin/manipulated-apt': Permission denied";
    anyhow::ensure!(moved.stderr.text().trim() == expected, "{}", moved.stderr.text());
    allowed(&web, "mv /usr/bin/apt-get /usr/bin/got && ln /usr/bin/got /usr/bin/apt-get")?;
    allowed(&web, "cat /usr/bin/apt > /tmp/copy && chmod +x /tmp/copy")
}

const READS: [Refused; 2] = [
    Refused {
        step: "cat /usr/bin/apt > /dev/null",
        undo: "true",
        primitive: "exec-read",
        hook: "file_open",
        reason: "Rule",
    },
    Refused {
        step: "cp /usr/bin/apt /tmp/copy",
        undo: "rm /tmp/copy",
        primitive: "exec-read",
        hook: "file_open",
        reason: "Rule",
    },
];

#[test]
fn at_contained_a_blocked_program_is_not_read() -> Result<()> {
    let node = Node::start(&NodeConfig::new("level-contained").debian())?;
    let web = debian(&node)?;
    goes_through(&node, &web, "contained", &READS)?;
    let block = at_level(&block_program("no-apt", "nginx", "/usr/bin/apt"), "contained");
    node.write("block.yaml", &block)?;
    becomes_denied(&web, "cat /usr/bin/apt")?;
    // What the container writes it may execute.
    allowed(&web, "cp /usr/bin/true /tmp/own && /tmp/own && stat /usr/bin/apt > /dev/null")
}

const SEALED: [Refused; 5] = [
    Refused {
        step: "cp /usr/bin/true /tmp/own && /tmp/own",
        undo: "rm /tmp/own",
        primitive: "taint",
        hook: "file_open",
        reason: "Hardening",
    },
    Refused {
        step: "mkdir -p /mnt/b && mount --bind /mnt /mnt/b",
        undo: "umount /mnt/b",
        primitive: "new-mount",
        hook: "capable",
        reason: "Hardening",
    },
    Refused {
        step: "unshare -U true",
        undo: "true",
        primitive: "user-namespace",
        hook: "userns_create",
        reason: "Hardening",
    },
    Refused {
        step: "exec 3>/proc/self/mem",
        undo: "true",
        primitive: "poke",
        hook: "file_open",
        reason: "Hardening",
    },
    Refused {
        step: "mv /usr/bin /usr/moved && /usr/moved/mv /usr/moved /usr/bin",
        undo: "true",
        primitive: "name-guard",
        hook: "path_rename",
        reason: "Hardening",
    },
];

#[test]
fn sealed_runs_nothing_that_the_container_made() -> Result<()> {
    let node = Node::start(&NodeConfig::new("level-sealed").debian())?;
    let web = debian(&node)?;
    goes_through(&node, &web, "sealed", &SEALED)
}

/// What file rules say of a name holds for whoever changes it.
#[test]
fn a_blocked_file_is_not_made_moved_linked_or_removed() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-names"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, "mkdir -p /srv/d && echo text | tee /srv/file /srv/d/inner > /srv/other")?;
    let steps = [
        ("mv /srv/file /srv/away", "mv /srv/away /srv/file", "path_rename"),
        ("mv /srv/other /srv/file && echo text > /srv/other", "true", "path_rename"),
        ("ln /srv/file /srv/link", "rm /srv/link", "path_link"),
        ("chmod 600 /srv/file", "true", "path_chmod"),
        ("chown 1 /srv/file", "chown 0 /srv/file", "path_chown"),
        ("truncate -s 5 /srv/file", "true", ""),
        ("rm /srv/file", "echo text > /srv/file", "path_unlink"),
        ("rm /srv/d/inner", "echo text > /srv/d/inner", "path_unlink"),
        ("mkdir /srv/d/new && rmdir /srv/d/new", "true", "path_mkdir"),
        ("ln -s /etc /srv/d/link && rm /srv/d/link", "true", "path_symlink"),
        ("mkfifo /srv/d/pipe && rm /srv/d/pipe", "true", "path_mknod"),
        ("echo text > /srv/d/made && rm /srv/d/made", "true", "path_mknod"),
    ];
    for (step, undo, _) in steps {
        allowed(&web, step)?;
        allowed(&web, undo)?;
    }
    let rules = "file:\n  matchPaths:\n  - path: /srv/file\n  matchDirectories:\n  - dir: /srv/d/\n    \
                 recursive: true\naction: Block";
    node.write("names.yaml", &at_level(&policy("names", "nginx", rules), "literal"))?;
    becomes_denied(&web, "cat /srv/file")?;
    for (step, _, hook) in steps {
        denied(&web, step)?;
        let is_meant = |event: &Value| event["hook"] == hook && event["operation"] == "File";
        if !hook.is_empty() {
            let event = node.event(&format!("{hook} for `{step}`"), is_meant)?;
            expect_fields(&event, &[("policyNames", json!(["names"])), ("reason", json!("Rule"))])?;
        }
    }
    // Nothing was made before it was denied.
    node.vm.must(&["test", "!", "-e", &format!("{}/srv/d/made", web.bundle().root())])?;
    allowed(&web, "mv /srv/other /srv/other2 && mv /srv/other2 /srv/other")?;
    node.remove("names.yaml")?;
    becomes_allowed(&web, "cat /srv/file")?;
    for (step, undo, _) in steps {
        allowed(&web, step)?;
        allowed(&web, undo)?;
    }
    Ok(())
}
