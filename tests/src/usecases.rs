// SPDX-License-Identifier: Apache-2.0
//! Path manipulation as KubeSmith's authors show it: a blocked program is renamed, copied or linked
//! and runs again; hardening denies that.
//!
//! In: which kernel. Out: a [`Report`] of every command on a terminal in a Debian container of a
//! whole node, each without a policy, with the policy as written, and with what the relay adds
//! to it by default; expected and seen text side by side. Never: fails because of a wrong text; who
//! prints the report decides what follows.

mod cases;
mod report;

use anyhow::{Context as _, Result, ensure};

use crate::{
    node::{Node, NodeConfig},
    prerequisites::{self, Purpose},
    rootfs::{Capabilities, Rootfs, Running, debian_disks},
    step::step,
    vm::{End, Exec, KernelChoice, Output, host_program, static_program},
};

use cases::{CASES, Case};
pub use report::{Report, Row};

const FILE: &str = "block-apt.yaml";

/// As long as the whole node may need for one line.
const LIMIT_MS: u64 = 60_000;

/// Under which rules a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// None: what is denied then is no denial of ours.
    None,
    /// The author's, by name: "without hardening".
    Literal,
    /// With what the relay adds by default: "with hardening".
    Default,
}

/// Goes through all cases.
///
/// # Errors
/// If the node cannot be had.
pub fn run(kernel: KernelChoice) -> Result<Report> {
    prerequisites::ensure(&[Purpose::Compile, Purpose::Boot])?;
    step("programs", |_| build())?;
    let config = NodeConfig { kernel, ..NodeConfig::new("usecases").debian() };
    let node = step("boot a node", |_| Node::start(&config))?;
    node.pod("web", "target")?;
    let web = Node::container("web", Rootfs::DebianExt4)
        .capabilities(Capabilities::All)
        .env("HOME", "/root")
        .run(&node.vm)?;
    let mut report = Report::new(conditions(&node, &web)?);
    for rules in [Rules::None, Rules::Literal, Rules::Default] {
        let played = step(rules.title(), |_| {
            rules.put_into_force(&node)?;
            CASES.iter().try_for_each(|case| play(&web, case, rules, &mut report))
        });
        if let Err(error) = played {
            // What comes after it may find another state; what came before it was seen.
            report.end_early(format!("{}: {error:#}", rules.title()));
            break;
        }
    }
    node.vm.sound()?;
    Ok(report)
}

fn build() -> Result<()> {
    static_program("guest-agent", "kadapter-agent")?;
    host_program("host-relay", "kadapter-relay")?;
    debian_disks()?;
    Ok(())
}

fn conditions(node: &Node, web: &Running<'_>) -> Result<Vec<String>> {
    let kernel = node.vm.must(&["uname", "-r"])?;
    let name = web.exec(&["sh", "-c", ". /etc/os-release; echo $PRETTY_NAME"])?;
    Ok(vec![
        format!("Linux {} under QEMU, TCG, no KVM", kernel.trim()),
        format!(
            "{} on ext4; root with all capabilities, at an interactive bash on a terminal",
            name.stdout.text().trim()
        ),
        "no network: `apt update` counts as run if apt itself speaks, whatever it can fetch".into(),
    ])
}

fn play(web: &Running<'_>, case: &Case, rules: Rules, report: &mut Report) -> Result<()> {
    let output = on_terminal(web, case.command)?;
    let seen = Seen::of(&output);
    let restored = web.exec(&["/bin/sh", "-euc", case.restore])?;
    ensure!(restored.success(), "{}: not as before: {}", case.id, restored.stderr.text());
    let expected = case.expected(rules);
    report.add(Row {
        name: format!("{}.{}", case.id, rules.name()),
        command: case.command.to_owned(),
        expected: expected.to_string(),
        seen: seen.describe(expected),
        met: expected.accepts(&seen),
    });
    Ok(())
}

/// What a person who types this line sees; bash says its errors with a line number elsewhere.
fn on_terminal(web: &Running<'_>, line: &str) -> Result<Output> {
    let interactive = r#"bash --norc -ic "$LINE""#;
    let argv = ["script", "--quiet", "--return", "--command", interactive, "/dev/null"];
    web.run(Exec {
        argv: argv.map(str::to_owned).into(),
        env: vec![("LINE".to_owned(), line.to_owned())],
        timeout_ms: LIMIT_MS,
        ..Exec::default()
    })
}

/// How a line ended.
#[derive(Clone, Debug)]
struct Seen {
    status: Option<i32>,
    lines: Vec<String>,
}

// === impl Seen ===

impl Seen {
    fn of(output: &Output) -> Self {
        let status = match output.end {
            End::Exited { status } => Some(status),
            End::Signaled { .. } | End::TimedOut => None,
        };
        let text = format!("{}{}", output.stdout.text(), output.stderr.text());
        Self { status, lines: shown(&text) }
    }
}

/// Lines as a terminal shows them, those that are overwritten included, without its sequences.
fn shown(text: &str) -> Vec<String> {
    let lines = text.split(['\n', '\r']).map(|line| {
        let mut parts = line.split("\u{1b}[");
        let first = parts.next().unwrap_or_default().to_owned();
        // A sequence ends with its first letter.
        let rest =
            parts.map(|part| part.split_once(char::is_alphabetic).map_or("", |(_, rest)| rest));
        rest.fold(first, |text, part| text + part).replace(char::is_control, "")
    });
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

// === impl Rules ===

impl Rules {
    fn title(self) -> &'static str {
        match self {
            Self::None => "without a policy",
            Self::Literal => "policy as written (level literal)",
            Self::Default => "policy with the default level",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "free",
            Self::Literal => "without",
            Self::Default => "with",
        }
    }

    fn put_into_force(self, node: &Node) -> Result<()> {
        let (generation, annotations) = match self {
            Self::None => return node.applied("web", 1),
            Self::Literal => (2, "\n  annotations: {kadapter.io/level: literal}"),
            Self::Default => (3, ""),
        };
        let policy = format!(
            "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  \
             name: block-apt\n  namespace: shop{annotations}\nspec:\n  selector:\n    \
             matchLabels: {{app: target}}\n  process:\n    matchPaths: [{{path: /usr/bin/apt}}]\n  \
             action: Block\n"
        );
        node.write(FILE, &policy)?;
        node.applied("web", generation).context("the guest does not take the policy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_a_person_reads() {
        let text = "\u{1b}[33m\r0% [Working]\u{1b}[0m\r      \rReading package lists... Done\r\n";
        assert_eq!(shown(text), ["0% [Working]", "Reading package lists... Done"]);
        assert_eq!(shown("bash: x: Permission denied\r\n"), ["bash: x: Permission denied"]);
    }
}
