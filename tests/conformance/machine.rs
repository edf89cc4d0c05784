// SPDX-License-Identifier: Apache-2.0
//! The third run of a case: a real node, with the real relay, agent and programs in a VM.
//!
//! One machine for each kind of root. A case has containers of its own in it, in a namespace of its
//! own, and leaves nothing behind.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig},
    patience::patient_ms,
    rootfs::{Bundle, Capabilities, Medium, Rootfs, Running},
    vm::{End as Exit, Exec, KernelChoice, Output},
};
use policy_model::world::ways::DRIVER;
use serde_json::Value;

use crate::{
    case::{Caps, Case, Event, Expect, File, PolicyChange, Run, Step},
    model::Findings,
    outcome::{End, Seen, complaint},
    stages::rule_set,
};

/// What a step may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What runc says of a program that SIGKILL ended.
const KILLED: Exit = Exit::Exited { status: 128 + 9 };

/// What the driver exits with when a step of a way was denied.
const DENIED: i32 = 1;

/// A node for cases of one kind of root.
pub(crate) struct Machine {
    node: Node,
    medium: Medium,
    /// Cases begun, for names.
    begun: usize,
}

/// The containers of a case, with or without its policies.
struct Stage<'a> {
    node: &'a Node,
    case: &'a Case,
    /// Namespace, and prefix of the pods' names.
    name: String,
    containers: Vec<Running<'a>>,
}

// === impl Machine ===

impl Machine {
    pub(crate) fn boot(medium: Medium, kernel: KernelChoice) -> Result<Self> {
        let mut config = NodeConfig::new(&format!("conformance-{medium}")).attacked(medium);
        config.kernel = kernel;
        Ok(Self { node: Node::start(&config)?, medium, begun: 0 })
    }

    /// Plays a case: first without policies what is denied with them, then with them.
    pub(crate) fn run(&mut self, case: &Case) -> Result<Findings> {
        let mut findings = Findings::default();
        if case.has_denials() {
            self.play(case, false, &mut findings)?;
        }
        if findings.failures.is_empty() {
            self.play(case, true, &mut findings)?;
        }
        Ok(findings)
    }

    fn play(&mut self, case: &Case, with_policies: bool, findings: &mut Findings) -> Result<()> {
        self.begun += 1;
        let name = format!("c{}", self.begun);
        let mut stage = Stage { node: &self.node, case, name, containers: Vec::new() };
        let played = stage.begin(self.medium, with_policies).and_then(|()| {
            for (number, step) in (1..).zip(&case.steps) {
                let failures = stage.take(step, with_policies)?;
                let failures =
                    failures.into_iter().map(|failure| format!("step {number}: {failure}"));
                findings.failures.extend(failures);
            }
            Ok(())
        });
        let ended = stage.end();
        played.and(ended).and(self.node.vm.sound())
    }

    /// Ends it.
    ///
    /// # Errors
    /// If its kernel has complained after the last case.
    pub(crate) fn end(self) -> Result<()> {
        self.node.vm.end()
    }
}

// === impl Stage ===

impl<'a> Stage<'a> {
    fn begin(&mut self, medium: Medium, with_policies: bool) -> Result<()> {
        self.node.write(&self.file("namespace"), &self.case.namespace(&self.name).to_string())?;
        if with_policies {
            self.write_policies()?;
        }
        for index in 0..self.case.containers.len() {
            let medium = if index == 0 { medium } else { Medium::Tmpfs };
            let running = self.start(index, medium)?;
            self.containers.push(running);
        }
        Ok(())
    }

    /// Its rules are in force before its first instruction.
    fn start(&self, index: usize, medium: Medium) -> Result<Running<'a>> {
        let pod = self.pod(index);
        let object = self.case.pod(index, &pod, &self.name);
        self.node.write(&self.file(&format!("pod{index}")), &object.to_string())?;
        let capabilities = match self.case.caps {
            Caps::Default => Capabilities::Default,
            Caps::All => Capabilities::All,
        };
        let container = Node::container(&pod, Rootfs::Attacked(medium))
            .annotation("io.kubernetes.cri.sandbox-namespace", &self.name)
            .capabilities(capabilities);
        let bundle = container.prepare(&self.node.vm)?;
        self.lay_files(&bundle)?;
        let output = bundle.run()?;
        ensure!(output.success(), "start {pod}: {}: {}", output.end, output.stdout.text());
        bundle.running()
    }

    fn lay_files(&self, bundle: &Bundle<'_>) -> Result<()> {
        let root = bundle.root();
        let mut script = String::new();
        for (path, file) in &self.case.files {
            let at = format!("{root}{path}");
            let parent = at.rsplit_once('/').map_or(&*root, |(parent, _)| parent);
            writeln!(script, "mkdir -p '{parent}'")?;
            match file {
                File::Directory(_) => writeln!(script, "mkdir -p '{at}'")?,
                File::Text(text) => script.push_str(&written(&at, "644", text)),
                File::Script(text) => {
                    let text = format!("#!/bin/busybox sh\n{text}\n");
                    script.push_str(&written(&at, "755", &text));
                }
                File::Copy(_) | File::Variant(_) | File::Hardlink(_) | File::Symlink(_) => {}
            }
        }
        for (path, file) in &self.case.files {
            let at = format!("{root}{path}");
            match file {
                File::Copy(from) => writeln!(script, "cp -p '{root}{from}' '{at}'")?,
                File::Variant(from) => {
                    writeln!(script, "cp -p '{root}{from}' '{at}' && printf x >> '{at}'")?;
                }
                File::Hardlink(from) => writeln!(script, "ln '{root}{from}' '{at}'")?,
                File::Symlink(to) => writeln!(script, "ln -s '{to}' '{at}'")?,
                File::Directory(_) | File::Text(_) | File::Script(_) => {}
            }
        }
        self.node.vm.sh(&script).context("lay the case's files")?;
        Ok(())
    }

    fn take(&self, step: &Step, with_policies: bool) -> Result<Vec<String>> {
        match step {
            Step::Policy { policy } if with_policies => self.change(*policy).map(|()| Vec::new()),
            Step::Policy { .. } => Ok(Vec::new()),
            Step::Run(run) => {
                let index = self.case.container(run)?;
                let end = self.run(run, index)?;
                if with_policies {
                    let mut failures: Vec<_> = complaint(run, &end).into_iter().collect();
                    for expected in &run.events {
                        failures.extend(
                            self.event(index, expected).err().map(|error| format!("{error:#}")),
                        );
                    }
                    return Ok(failures);
                }
                let broken = run.expect != Expect::Ok && end != End::Ok;
                let what = format!(
                    "the case is broken: without policies `{}` ended with {end}",
                    run.run.join(" ")
                );
                Ok(broken.then_some(what).into_iter().collect())
            }
        }
    }

    fn run(&self, run: &Run, index: usize) -> Result<End> {
        let head = ["/bin/busybox", "sh", "-c", "exec \"$@\"", "sh"];
        let words: Vec<_> = head.into_iter().chain(run.run.iter().map(String::as_str)).collect();
        let argv = self.containers[index].argv(self.case.user, &words);
        let output =
            self.node.vm.run(Exec { argv, timeout_ms: patient_ms(LIMIT), ..Exec::default() })?;
        Ok(end_of(run, &output))
    }

    fn event(&self, index: usize, expected: &Event) -> Result<()> {
        let pod = self.pod(index);
        self.node.event(&format!("{expected:?} of {pod}"), |event| {
            event["pod"] == pod.as_str() && seen(event).is(expected)
        })?;
        Ok(())
    }

    /// Waits until every container whose rules change has others than before.
    fn change(&self, change: PolicyChange) -> Result<()> {
        let mut concerned = Vec::new();
        for index in 0..self.containers.len() {
            if !rule_set(self.case, index)?.rules().is_empty() {
                concerned.push((index, self.generation(index)));
            }
        }
        match change {
            PolicyChange::Delete => self.node.remove(&self.file("policies"))?,
            PolicyChange::Apply => self.write_policies()?,
        }
        for (index, before) in concerned {
            let target = self.target(index);
            let what = format!("a generation of {target} after {before}");
            self.node.relay_log().wait(&what, |line| {
                applied(line, &target).is_some_and(|generation| generation > before)
            })?;
        }
        Ok(())
    }

    /// The last one that the guest took.
    fn generation(&self, index: usize) -> u64 {
        let target = self.target(index);
        let log = self.node.relay_log().all();
        log.iter().filter_map(|line| applied(line, &target)).max().unwrap_or_default()
    }

    fn write_policies(&self) -> Result<()> {
        let documents: Vec<_> =
            self.case.policies(&self.name).iter().map(Value::to_string).collect();
        self.node.write(&self.file("policies"), &documents.join("\n---\n"))
    }

    fn pod(&self, index: usize) -> String {
        format!("{}-{}", self.name, self.case.containers[index].name)
    }

    fn target(&self, index: usize) -> String {
        format!("{}/{}/main", self.name, self.pod(index))
    }

    fn file(&self, what: &str) -> String {
        format!("{}-{what}.yaml", self.name)
    }

    /// Removes all of it; also what a case that failed has left.
    fn end(self) -> Result<()> {
        for (index, container) in self.containers.into_iter().enumerate() {
            container.delete()?;
            self.node.remove(&format!("{}-pod{index}.yaml", self.name))?;
        }
        for what in ["policies", "namespace"] {
            let file = self.node.policies().join(format!("{}-{what}.yaml", self.name));
            if file.exists() {
                std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
            }
        }
        Ok(())
    }
}

/// Lines of a script that write a file.
fn written(at: &str, mode: &str, text: &str) -> String {
    let text = text.replace('\'', "'\\''");
    format!("printf %s '{text}' > '{at}'\nchmod {mode} '{at}'\n")
}

fn end_of(run: &Run, output: &Output) -> End {
    if output.success() {
        return End::Ok;
    }
    if output.end == KILLED {
        return End::Killed;
    }
    let message = output.stderr.text();
    let lower = message.to_lowercase();
    if run.run[0] == DRIVER {
        return match output.end {
            Exit::Exited { status: DENIED } => End::Denied,
            _ => End::Failed(format!("{}: {}{message}", output.end, output.stdout.text())),
        };
    }
    if lower.contains("permission denied") {
        End::Eacces
    } else if lower.contains("operation not permitted") {
        End::Eperm
    } else {
        End::Failed(format!("{}: {}", output.end, message.trim()))
    }
}

/// Of a line of the relay's events.
fn seen(event: &Value) -> Seen {
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    Seen {
        verdict: text("action").to_lowercase(),
        hook: text("hook"),
        path: text("resource"),
        source: text("source"),
        reason: text("reason"),
        primitive: event["primitive"].as_str().map(ToOwned::to_owned),
    }
}

/// The generation that a line of the relay's log says the guest has applied for a target.
fn applied(line: &str, target: &str) -> Option<u64> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let applied = entry["message"] == "applied" && entry["container"] == target;
    entry["generation"].as_str().filter(|_| applied)?.parse().ok()
}
