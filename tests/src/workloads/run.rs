// SPDX-License-Identifier: Apache-2.0
//! A node on which workloads run, one after the other in one container.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::node::{Node, NodeConfig};
use crate::patience::patient_ms;
use crate::rootfs::{Container, Image, Medium, Rootfs, Running, disks};
use crate::vm::{Exec, host_program, missing_for_share, static_program};

use super::denials::{self, Denial};
use super::table::{Step, Table, Workload};
use super::{Policies, Under};

/// Pod, and label of the pods that the policies select.
const POD: &str = "workloads";

/// A step takes some seconds; a busy host may take twenty times as long.
const STEP_LIMIT: Duration = Duration::from_secs(300);

/// Lines of a failed step that are kept.
const TAIL_LINES: usize = 3;

/// Node with all of apt's and node's memory, and what containers write to overlays.
const MEMORY_MIB: u32 = 1536;

/// A node with a container to be.
pub(super) struct Stage {
    node: Node,
    container: Container,
    is_ruled: bool,
}

/// How a workload went.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    /// The step that failed, which is the last one then.
    pub(super) failed: Option<Failure>,
    /// What was denied meanwhile.
    pub(super) denials: Vec<Denial>,
    /// How long it took.
    pub(super) took: Duration,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Its name.
    pub(super) step: String,
    /// What it said last.
    pub(super) said: String,
}

/// Builds what nodes are made of, so that it does not look like a part of a workload.
pub(super) fn build() -> Result<()> {
    static_program("guest-agent", "kadapter-agent")?;
    static_program("guest-init", "guest-init")?;
    host_program("host-relay", "kadapter-relay")?;
    disks(Image::Workloads)?;
    Ok(())
}

// === impl Stage ===

impl Stage {
    /// Boots a guest and hands the policies to its relay, unless it is to be without rules.
    ///
    /// # Errors
    /// If the relay refuses the policies, as it does at a level that is not built.
    pub(super) fn start(root: Medium, under: Option<Under>, table: &Table) -> Result<Self> {
        if let Some(under) = under {
            check(under)?;
        }
        if root == Medium::Virtiofs
            && let Some(lack) = missing_for_share()
        {
            bail!("not available: {lack}");
        }
        let mut config = NodeConfig::new("workloads");
        config.virtiofs = root == Medium::Virtiofs;
        config.debian = !config.virtiofs;
        config.image = Image::Workloads;
        config.memory_mib = MEMORY_MIB;
        if under.is_some_and(|under| under.policies == Policies::Whitelist) {
            config.relay_args = vec!["--default-file-posture".into(), "block".into()];
        }
        let node = Node::start(&config)?;
        if let Some(under) = under {
            for (file, text) in files(under) {
                node.write(file, &text)?;
            }
        }
        node.pod(POD, POD)?;
        let container = Node::container(POD, debian_on(root))
            .args(&["/bin/bash", "-c", &table.entrypoint])
            .env("DEBIAN_FRONTEND", "noninteractive");
        Ok(Self { node, container, is_ruled: under.is_some() })
    }

    /// Runs all workloads of a table.
    ///
    /// # Errors
    /// If the container does not start, or the rules are not in force after a workload.
    pub(super) fn run_all(&self, table: &Table, progress: &crate::step::Step) -> Result<Vec<Ran>> {
        let mut seen = 0;
        let mut all = Vec::new();
        let mut running = self.container.run(&self.node.vm)?;
        for workload in &table.workloads {
            progress.note(&workload.name);
            let started = Instant::now();
            let failed;
            (running, failed) = self.run(workload, running)?;
            let took = started.elapsed();
            let denials =
                if self.is_ruled { self.denials(&running, &mut seen)? } else { Vec::new() };
            self.node.vm.sound()?;
            all.push(Ran { failed, denials, took });
        }
        Ok(all)
    }

    fn run<'node>(
        &'node self,
        workload: &Workload,
        mut running: Running<'node>,
    ) -> Result<(Running<'node>, Option<Failure>)> {
        for step in &workload.steps {
            if step.restart {
                running.delete()?;
                running = self.container.run(&self.node.vm)?;
            } else if let Some(failure) = run_step(&running, step)? {
                return Ok((running, Some(failure)));
            }
        }
        Ok((running, None))
    }

    /// All denials since the last call. A last one, provoked here, has come after them, and proves
    /// that the rules are in force.
    fn denials(&self, running: &Running<'_>, seen: &mut usize) -> Result<Vec<Denial>> {
        let marker = format!("/srv/marker/{seen}");
        let touch = running.exec(&["/bin/bash", "-c", ": > \"$0\"", &marker])?;
        let denied = !touch.success() && touch.stderr.text().contains("Permission denied");
        ensure!(denied, "the rules are not in force: {marker} could be written");
        self.node.event("the marker's denial", |event| is_marker(event, &marker))?;
        let lines = self.node.events().all();
        let lines = &lines[*seen..];
        let parsed = |line: &String| serde_json::from_str::<Value>(line).ok();
        let last =
            lines.iter().position(|line| parsed(line).is_some_and(|e| is_marker(&e, &marker)));
        let last = last.context("the marker's denial came before")?;
        *seen += last + 1;
        Ok(denials::of_events(&lines[..last]))
    }
}

fn is_marker(event: &Value, marker: &str) -> bool {
    event["resource"] == marker && event["action"] == "Block"
}

fn run_step(running: &Running<'_>, step: &Step) -> Result<Option<Failure>> {
    let script = step.run.as_deref().unwrap_or_default();
    let argv = ["/bin/bash", "-euo", "pipefail", "-c", script].map(str::to_owned).into();
    let output =
        running.run(Exec { argv, timeout_ms: patient_ms(STEP_LIMIT), ..Exec::default() })?;
    Ok((!output.success()).then(|| {
        let said = output.stderr.text() + &output.stdout.text();
        let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join(" | ");
        Failure { step: step.name.clone(), said: format!("{}: {tail}", output.end) }
    }))
}

/// What the rig makes of a root.
fn debian_on(root: Medium) -> Rootfs {
    match root {
        Medium::Tmpfs => Rootfs::DebianTmpfs,
        Medium::Ext4 => Rootfs::DebianExt4,
        Medium::Overlay1 => Rootfs::DebianOverlayOnDisk,
        Medium::Overlay2 => Rootfs::DebianOverlay,
        Medium::Virtiofs => Rootfs::DebianVirtiofs,
    }
}

/// The policies of a run, by the names of their files.
fn files(under: Under) -> impl Iterator<Item = (&'static str, String)> {
    let texts = under.policies.files().iter();
    texts.map(move |(file, text)| (*file, text.replace("@LEVEL@", under.level.name())))
}

/// Fails with what the relay has against policies, as it has at a level that is not built. Takes no
/// guest.
fn check(under: Under) -> Result<()> {
    let directory = tempfile::tempdir().context("make a directory")?;
    for (file, text) in files(under) {
        fs::write(directory.path().join(file), text).context("write a policy")?;
    }
    let mut check = Command::new(host_program("host-relay", "kadapter-relay")?);
    let output = check.arg("check").arg(directory.path()).output().context("run the relay")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| line.starts_with("error")).unwrap_or("it does not say");
    bail!("not available: the relay refuses it: {first}")
}
