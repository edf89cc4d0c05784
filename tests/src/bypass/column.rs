// SPDX-License-Identifier: Apache-2.0
//! Columns of the matrix: which rules stand against the ways, and how they come into force.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use attacks::places;
use serde_json::Value;

use crate::node::Node;
use crate::reference::{Enforcer, Logic};
use crate::rootfs::Running;

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name in the table.
    pub name: &'static str,
    /// What it has.
    pub about: &'static str,
    rules: Rules,
}

/// What stands against the ways. A new kind gets its variant, and its arm in [`Column::enforce`].
#[derive(Debug)]
enum Rules {
    /// Nothing.
    None,
    /// A policy that blocks the targets, hardened to this level.
    Level(&'static str),
    /// A peer's rules against the targets, by this name of theirs; the product has none.
    Reference(&'static str),
}

/// Rules in force for one container.
pub(super) enum Enforced<'n> {
    /// None.
    Nothing,
    /// A policy of a pod.
    Policy { node: &'n Node, pod: String },
    /// A peer's.
    Reference(Enforcer<'n>),
}

/// A name that no column has.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no column is called `{0}`")]
pub struct UnknownColumn(String);

const fn level(name: &'static str, about: &'static str) -> Column {
    Column { name, about, rules: Rules::Level(name) }
}

const fn reference(name: &'static str, about: &'static str) -> Column {
    Column { name, about, rules: Rules::Reference(name) }
}

/// All of them, in the order of the table.
pub static COLUMNS: [Column; 10] = [
    Column { name: "none", about: "no rules", rules: Rules::None },
    level("literal", "a policy that blocks the targets, as written"),
    level("base", "the same policy, hardened: identity, equal content, guarded names"),
    level("contained", "base, and the blocked programs are not read"),
    level("sealed", "contained, and no code but that of the image"),
    reference("P", "KubeArmor's process rule (by a reference enforcer, as all that follow)"),
    reference("P'", "Tetragon's hook on exec"),
    reference("K", "P, and KubeArmor's file rule"),
    reference("K2", "P', and Tetragon's hook on opens"),
    reference("K+", "K by control group, no renames above the targets, no mounts"),
];

// === impl Column ===

impl Column {
    /// The one without rules.
    #[must_use]
    pub fn none() -> &'static Self {
        &COLUMNS[0]
    }

    /// Whether it has no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.rules, Rules::None)
    }

    /// Name of the pod whose container it concerns: peers have names that no pod may have.
    pub(super) fn pod(&self, number: usize) -> String {
        let letters = self.name.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        format!("column{number}-{}", letters.to_lowercase())
    }

    /// Whether its rules are a peer's.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        matches!(self.rules, Rules::Reference(_))
    }

    /// Brings its rules into force for the running container of a pod. The inner error says why
    /// this cannot be had.
    pub(super) fn enforce<'n>(
        &self,
        node: &'n Node,
        pod: &str,
        container: &Running<'_>,
    ) -> Result<Result<Enforced<'n>, String>> {
        Ok(match self.rules {
            Rules::None => Ok(Enforced::Nothing),
            Rules::Level(level) => {
                node.write(&file(pod), &policy(pod, level))?;
                applied(node, pod)?.map(|()| Enforced::Policy { node, pod: pod.to_owned() })
            }
            Rules::Reference(name) => {
                let targets = places::targets();
                let targets: Vec<_> = targets.iter().map(String::as_str).collect();
                let logic = Logic::Column(name, &targets);
                Ok(Enforced::Reference(Enforcer::start(&node.vm, logic, container)?))
            }
        })
    }
}

// === impl Enforced ===

impl<'n> Enforced<'n> {
    /// For another container of the same pod. A policy is there already.
    pub(super) fn follow(
        self,
        column: &Column,
        (node, pod): (&'n Node, &str),
        container: &Running<'_>,
    ) -> Result<Self> {
        match self {
            Self::Nothing | Self::Policy { .. } => Ok(self),
            Self::Reference(enforcer) => {
                enforcer.stop()?;
                let enforced = column.enforce(node, pod, container)?;
                enforced.map_err(|reason| anyhow::anyhow!(reason))
            }
        }
    }

    /// Takes the rules back.
    pub(super) fn release(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Policy { node, pod } => node.remove(&file(&pod)),
            Self::Reference(enforcer) => enforcer.stop(),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl FromStr for &'static Column {
    type Err = UnknownColumn;

    fn from_str(name: &str) -> Result<Self, UnknownColumn> {
        let found = COLUMNS.iter().find(|column| column.name == name);
        found.ok_or_else(|| UnknownColumn(name.to_owned()))
    }
}

/// Waits until the relay has given the pod's container its rules, or has said why not.
fn applied(node: &Node, pod: &str) -> Result<Result<(), String>> {
    let target = format!("shop/{pod}/main");
    let line = node.relay_log().wait(&format!("the rules of {target}"), |line| {
        serde_json::from_str(line).is_ok_and(|entry| answer(&entry, &target).is_some())
    })?;
    let entry = serde_json::from_str(&line).context("a line of the relay's log")?;
    Ok(answer(&entry, &target).unwrap_or(Ok(())))
}

/// What a line of the log says of a target's rules, if it says anything.
fn answer(entry: &Value, target: &str) -> Option<Result<(), String>> {
    if entry["container"] != target {
        return None;
    }
    let message = entry["message"].as_str()?;
    if entry["level"] == "ERROR" {
        return Some(Err(message.to_owned()));
    }
    // The first one was empty.
    let generation = entry["generation"].as_str()?.parse::<u64>().ok()?;
    (message == "applied" && generation >= 2).then_some(Ok(()))
}

fn file(pod: &str) -> String {
    format!("{pod}-policy.yaml")
}

/// Blocks every target for the pods of a label.
fn policy(app: &str, level: &str) -> String {
    let head = format!(
        "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: {app}\n  \
         namespace: shop\n  annotations:\n    kadapter.io/level: {level}\nspec:\n  selector:\n    \
         matchLabels:\n      app: {app}\n  process:\n    matchPaths:\n"
    );
    let paths = places::targets().iter().fold(head, |mut text, path| {
        let _ = writeln!(text, "    - path: {path}");
        text
    });
    paths + "  action: Block\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        for column in &COLUMNS {
            assert_eq!(column.name.parse::<&Column>().unwrap().name, column.name);
        }
        assert!("strict".parse::<&Column>().is_err());
        assert!(Column::none().is_empty());
    }

    #[test]
    fn the_policy_blocks_every_target() {
        let text = policy("column1", "base");
        for target in places::targets() {
            assert!(text.contains(&format!("- path: {target}\n")), "{target} in {text}");
        }
        assert!(text.contains("kadapter.io/level: base\n"));
    }

    #[test]
    fn the_relay_has_applied_the_rules_or_says_why_not() {
        let applied = |container, generation| json!({"message": "applied", "container": container, "generation": generation});
        let answer = |entry: Value| answer(&entry, "shop/a/main");
        assert_eq!(answer(applied("shop/a/main", "2")), Some(Ok(())));
        assert_eq!(answer(applied("shop/a/main", "1")), None);
        assert_eq!(answer(applied("shop/b/main", "2")), None);
        let refused = json!({"level": "ERROR", "message": "why", "container": "shop/a/main"});
        assert_eq!(answer(refused), Some(Err("why".into())));
    }
}
