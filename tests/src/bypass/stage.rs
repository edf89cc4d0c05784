// SPDX-License-Identifier: Apache-2.0
//! Goes the ways of one column on one root: containers, the driver in them, and what has to happen
//! between a way's two phases.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use attacks::catalogue::{Between, Entry};
use attacks::places::{DRIVER, WORK};
use attacks::report::Report as Gone;

use super::column::Enforced;
use super::{Column, Outcome, User};
use crate::node::{Node, eventually};
use crate::patience::{patient, patient_ms};
use crate::rootfs::{Capabilities, Medium, Rootfs, Running};
use crate::vm::{End, Exec, Output, Spawn};

/// For all ways of a column: each has at most a third of a minute, and most take no time.
const LIMIT: Duration = Duration::from_secs(300);

/// Where ways are gone.
pub(super) struct Stage<'n> {
    pub(super) node: &'n Node,
    pub(super) medium: Medium,
    pub(super) user: User,
}

/// A driver that waits between two phases.
struct Waiting {
    pid: i32,
    /// In the guest, without an extension.
    output: String,
    /// The file that it waits for, as the guest's root sees it.
    go: String,
    /// How it ended, if it had nothing to wait for.
    ended: Option<End>,
}

// === impl Stage ===

impl<'n> Stage<'n> {
    /// Goes them in a container of the pod. Those that come before the rules begin before them.
    pub(super) fn go(
        &self,
        column: &Column,
        pod: &str,
        entries: &[&'static Entry],
    ) -> Result<Outcome> {
        self.node.pod(pod, pod)?;
        let container = self.container(pod)?;
        let of = |between| -> Vec<_> {
            entries.iter().copied().filter(|entry| entry.between == between).collect()
        };
        let early = self.begin(&container, &of(Some(Between::Rules)))?;
        let enforced = column.enforce(self.node, pod, &container)?;
        let mut gone = self.end(early)?;
        let enforced = match enforced {
            Ok(enforced) => enforced,
            Err(reason) => {
                container.delete()?;
                return Ok(Err(reason));
            }
        };
        // Also before all other ways, which find nothing then that only a cache has held.
        let evicted = self.begin(&container, &of(Some(Between::Eviction)))?;
        if evicted.is_some() {
            self.node.vm.sh("sync; echo 3 > /proc/sys/vm/drop_caches")?;
        }
        gone.extend(self.end(evicted)?);
        gone.extend(self.go_plain((column, pod), (container, enforced), of(None))?);
        Ok(Ok(gone))
    }

    /// Those of one phase, and takes the rules back. After a way that could not put things back,
    /// another container goes on.
    fn go_plain(
        &self,
        (column, pod): (&Column, &str),
        (mut container, mut enforced): (Running<'n>, Enforced<'n>),
        mut entries: Vec<&'static Entry>,
    ) -> Result<Vec<Gone>> {
        let mut gone = Vec::new();
        while !entries.is_empty() {
            let argv = self.argv(&container, &entries, &[]);
            let timeout_ms = patient_ms(LIMIT);
            let output = self.node.vm.run(Exec { argv, timeout_ms, ..Exec::default() })?;
            let mut reports = reports(&entries, &output)?;
            if let Some(last) = reports.iter().position(|report| !report.left.is_empty()) {
                reports.truncate(last + 1);
                container.delete()?;
                container = self.container(pod)?;
                enforced = enforced.follow(column, (self.node, pod), &container)?;
            }
            entries.drain(..reports.len());
            gone.extend(reports);
        }
        enforced.release()?;
        container.delete()?;
        Ok(gone)
    }

    fn container(&self, pod: &str) -> Result<Running<'n>> {
        let capabilities = match self.user {
            User::Root => Capabilities::All,
            User::Ordinary => Capabilities::Default,
        };
        let container = Node::container(pod, Rootfs::Attacked(self.medium));
        container.capabilities(capabilities).run(&self.node.vm)
    }

    /// Starts a driver and returns when all first phases are over.
    fn begin(
        &self,
        container: &Running<'_>,
        entries: &[&'static Entry],
    ) -> Result<Option<(Vec<&'static Entry>, Waiting)>> {
        if entries.is_empty() {
            return Ok(None);
        }
        let [ready, go] = ["ready", "go"].map(|name| format!("{WORK}/{name}"));
        let argv = self.argv(container, entries, &["--ready", &ready, "--go", &go]);
        let inside = |path: &str| format!("{}{path}", container.bundle().root());
        let output = format!("{}/driver", container.bundle().path());
        let script = r#"out=$1; shift; exec "$@" > "$out.out" 2> "$out.err""#;
        let words = ["sh", "-c", script, "sh", &output].map(str::to_owned);
        let argv = words.into_iter().chain(argv).collect();
        let log = format!("{output}.log");
        let vm = &self.node.vm;
        let pid = vm.spawn(Spawn { argv, log, ..Spawn::default() })?;
        let ready = inside(&ready);
        let mut ended = None;
        eventually("the driver has gone the first phases", || {
            if vm.exec(&["test", "-e", &ready])?.success() {
                return Ok(true);
            }
            // With nothing to wait for it does not wait.
            ended = Some(vm.wait(pid, Duration::ZERO)?).filter(|end| *end != End::TimedOut);
            Ok(ended.is_some())
        })?;
        Ok(Some((entries.into(), Waiting { pid, output, go: inside(&go), ended })))
    }

    /// Lets a driver go on, and returns what came of its ways.
    fn end(&self, waiting: Option<(Vec<&'static Entry>, Waiting)>) -> Result<Vec<Gone>> {
        let Some((entries, waiting)) = waiting else { return Ok(Vec::new()) };
        let Waiting { pid, output, go, ended } = waiting;
        let vm = &self.node.vm;
        // In one step: the driver removes it as soon as it sees it.
        vm.must(&["touch", &go])?;
        let end = match ended {
            Some(end) => end,
            None => vm.wait(pid, patient(LIMIT))?,
        };
        let read = |extension| vm.read_file(&format!("{output}.{extension}"));
        let (stdout, stderr) = (read("out")?.into(), read("err")?.into());
        vm.must(&["rm", &go])?;
        reports(&entries, &Output { end, stdout, stderr })
    }

    fn argv(&self, container: &Running<'_>, entries: &[&Entry], options: &[&str]) -> Vec<String> {
        let head = [DRIVER, "run", "--json"].into_iter().chain(options.iter().copied());
        let words: Vec<_> = head.chain(entries.iter().map(|entry| entry.id)).collect();
        container.argv(self.user.id(), &words)
    }
}

/// What the driver printed: a line for each way, in their order.
fn reports(entries: &[&Entry], output: &Output) -> Result<Vec<Gone>> {
    let text = output.stdout.text();
    let reports = text.lines().map(serde_json::from_str::<Gone>).collect::<Result<Vec<_>, _>>();
    let reports = reports.with_context(|| format!("the driver printed {text:?}"))?;
    if reports.len() != entries.len() {
        let (end, said) = (&output.end, output.stderr.text());
        bail!("the driver ended with {end} after {} ways: {said}", reports.len());
    }
    let same = reports.iter().zip(entries).all(|(report, entry)| report.way == entry.id);
    ensure!(same, "the driver went other ways: {text}");
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stdout: &str) -> Output {
        let (stdout, stderr) = (stdout.into(), "killed".into());
        Output { end: End::Exited { status: 1 }, stdout, stderr }
    }

    #[test]
    fn a_driver_that_ends_early_is_an_error() {
        let entries = ["C1", "B01"].map(|id| Entry::find(id).unwrap());
        let line = |way| format!("{{\"way\":\"{way}\",\"outcome\":\"ran\",\"steps\":[]}}\n");
        let both = line("C1") + &line("B01");
        assert_eq!(reports(&entries, &output(&both)).unwrap().len(), 2);
        let error = reports(&entries, &output(&line("C1"))).unwrap_err().to_string();
        assert!(error.contains("after 1 ways: killed"), "{error}");
        assert!(reports(&entries, &output(&(line("B01") + &line("C1")))).is_err());
        assert!(reports(&entries, &output("Segmentation fault\n")).is_err());
    }
}
