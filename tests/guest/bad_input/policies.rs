// SPDX-License-Identifier: Apache-2.0
//! Mistakes of authors: the relay's log has file, object, field and remedy.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use e2e::node::{Node, NodeConfig};
use serde_json::Value;

use super::{BLOCKED, FILE, under_a_policy};
use crate::steps::{allowed, at_level, becomes_denied, block_program, denied, policy};

/// A mistake and what the log says about it, beside the file.
struct Mistake {
    yaml: String,
    says: &'static [&'static str],
}

const OBJECT: &str = "KubeArmorPolicy shop/no-id: ";

fn mistake(spec: &str, says: &'static [&'static str]) -> Mistake {
    Mistake { yaml: policy("no-id", "nginx", &format!("{spec}\naction: Block")), says }
}

fn mistakes() -> Vec<Mistake> {
    let long = format!("process:\n  matchPaths:\n  - path: /{}", "long/".repeat(900) + "id");
    let deep = format!("process:\n  matchPaths:\n  - path: /{}", "d/".repeat(96) + "id");
    let sources = (0..65).fold(String::new(), |mut list, number| {
        let _ = write!(list, "{{path: /bin/{number}}}, ");
        list
    });
    let sources = format!("file:\n  matchPaths:\n  - {{path: /etc/a, fromSource: [{sources}]}}");
    vec![
        Mistake { yaml: "spec: [\n".into(), says: &["not YAML: unclosed bracket '[' at line 1"] },
        mistake(
            "process:\n  matchPath:\n  - path: /usr/bin/id",
            &[OBJECT, "spec.process", "unknown field `matchPath`", "`matchPaths`"],
        ),
        mistake(
            "process:\n  matchPaths:\n  - path: 7",
            &[OBJECT, "spec.process.matchPaths[0].path", "invalid type", "expected a string"],
        ),
        mistake(
            "process:\n  matchPaths:\n  - path: usr/bin/id",
            &[OBJECT, "spec.process.matchPaths[0].path", "is relative; write it from `/`"],
        ),
        mistake(
            "network:\n  matchProtocols:\n  - protocol: tcp",
            &[OBJECT, "spec.network.matchProtocols[0]", "not built yet; remove the field"],
        ),
        mistake(
            "process:\n  matchPaths:\n  - {path: /usr/bin/id, ownerOnly: true}",
            &[OBJECT, "spec.process.matchPaths[0].ownerOnly", "not built yet; remove the field"],
        ),
        mistake(
            &long,
            &[OBJECT, "spec.process.matchPaths[0].path", "4503 bytes; the kernel takes 4095"],
        ),
        mistake(
            &deep,
            &[OBJECT, "spec.process.matchPaths[0].path", "97 components; a rule may have 96"],
        ),
        mistake(&sources, &[OBJECT, "spec.file.matchPaths[0].fromSource", "65", "64"]),
    ]
}

/// The text of a line of the log if it is an error of this file.
fn error_of_file(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let message = entry["message"].as_str()?;
    (entry["level"] == "ERROR" && message.contains(FILE)).then(|| message.to_owned())
}

/// The first error about the file behind `seen` lines of the log.
fn next_error(node: &Node, seen: usize) -> Result<String> {
    let known: Vec<_> = node.relay_log().all().into_iter().take(seen).collect();
    let is_new = |line: &str| error_of_file(line).is_some() && !known.iter().any(|it| it == line);
    let line = node.relay_log().wait("an error about the file", is_new)?;
    error_of_file(&line).context("it was one")
}

#[test]
fn a_mistake_in_a_policy_is_named_and_leaves_the_last_version_in_force() -> Result<()> {
    let node = Node::start(&NodeConfig::new("bad-policy"))?;
    let web = under_a_policy(&node)?;
    let mut wrong = Vec::new();
    for Mistake { yaml, says } in mistakes() {
        let seen = node.relay_log().all().len();
        node.write(FILE, &yaml)?;
        let error = next_error(&node, seen)?;
        if says.iter().any(|part| !error.contains(part)) {
            wrong.push(format!("expected {says:?} in: {error:.400}"));
        }
        denied(&web, BLOCKED)?;
    }
    ensure!(wrong.is_empty(), "\n{}", wrong.join("\n"));

    node.write(FILE, &block_program("no-id", "nginx", "/bin/ls"))?;
    becomes_denied(&web, "/bin/ls /")?;
    allowed(&web, BLOCKED)
}

/// One more than a rule set may have.
const TOO_MANY: usize = 100_001;

#[test]
fn a_policy_with_too_many_rules_leaves_the_last_version_in_force() -> Result<()> {
    let node = Node::start(&NodeConfig::new("bad-size"))?;
    let web = under_a_policy(&node)?;
    let mut spec = String::from("file:\n  matchPaths:\n");
    for number in 0..TOO_MANY {
        writeln!(spec, "  - path: /srv/{number}")?;
    }
    // As written: each level adds rules of its own.
    let policy = policy("no-id", "nginx", &(spec + "action: Block"));
    node.write(FILE, &at_level(&policy, "literal"))?;
    node.relay_log().wait("the refusal", |line| {
        line.contains("ERROR") && line.contains("`rules` has 100001, allowed are 0 to 100000")
    })?;
    denied(&web, BLOCKED)?;

    node.write(FILE, &block_program("no-id", "nginx", "/bin/ls"))?;
    becomes_denied(&web, "/bin/ls /")?;
    allowed(&web, BLOCKED)
}
