// SPDX-License-Identifier: Apache-2.0
//! From a change of the policy directory to its enforcement, and what many rules cost.
//!
//! The host's part ends when the relay sends; the guest's part, with the way there and back, is
//! emulated and takes many times what a processor would.

use std::fs;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{rootfs::Rootfs, vm::KernelChoice};

use super::{
    memory::Memory,
    policies,
    report::{Figure, Report},
    rig::{Clock, Guest, Relay, resident},
    samples::{percentile, sorted},
};

/// Changes that are timed, one after the other.
const CHANGES: usize = 30;

/// Rules in the largest rule set.
const MANY: usize = 10_000;

const POD: &str = "web";
const FILE: &str = "block.yaml";

/// The two parts of one change, in milliseconds.
struct Change {
    host: f64,
    guest: f64,
}

/// Changes one container's policy.
pub(super) fn measure(kernel: KernelChoice, report: &mut Report) -> Result<()> {
    report.condition_of_host("changes")?;
    let guest = Guest::boot(Clock::Host, kernel)?;
    report.condition_of_guest(&guest.vm)?;
    let agent = guest.start_agent()?;
    let relay = Relay::start(&guest)?;
    let status = || fs::read_to_string(format!("/proc/{}/status", relay.pid()));
    report.add(Figure::new("relay.rss", resident(&status()?)?, "MiB").note("VmRSS, one guest"));
    relay.pod(POD)?;
    let container = guest.gated(POD, Rootfs::Busybox)?;
    let timed = |index: usize| {
        // Each differs from the one before.
        change(&relay, index as u64 + 2, &policies::blocking(2 + index % 2))
    };
    let changes = (0..CHANGES).map(timed).collect::<Result<Vec<_>>>()?;
    add_changes(report, &changes)?;

    let many = CHANGES as u64 + 2;
    let before = Memory::of(&guest.vm, agent)?;
    let Change { host, guest: there } = change(&relay, many, &policies::blocking(MANY))?;
    let took = relay.applied(POD, many)?["took_ns"].as_f64().context("took_ns")? / 1e6;
    report.add(Figure::new("apply.rules10000", took, "ms").note("by the guest, emulated"));
    let note = format!("host {host:.0} ms, then guest {there:.0} ms; 2 vCPU");
    report.add(Figure::new("change.rules10000", host + there, "ms").note(note));
    let resident_now = resident(&status()?)?;
    report.add(Figure::new("relay.rss.rules10000", resident_now, "MiB").note("VmRSS"));
    let status = guest.vm.read_file(&format!("/proc/{agent}/status"))?;
    let resident_now = resident(&String::from_utf8_lossy(&status))?;
    report.add(Figure::new("agent.rss.rules10000", resident_now, "MiB").note("VmRSS"));
    add_memory(report, before, Memory::of(&guest.vm, agent)?);
    container.delete()?;
    guest.vm.end()
}

/// Per rule of the policy, with what hardening adds to it.
fn add_memory(report: &mut Report, before: Memory, after: Memory) {
    let per_rule = |before, after| (after - before) / MANY as f64;
    let parts = [
        ("maps", per_rule(before.maps, after.maps), "entries, by /proc/AGENT/fdinfo"),
        ("slabs", per_rule(before.slabs, after.slabs), "all that the kernel took, by SUnreclaim"),
    ];
    for (part, bytes, note) in parts {
        let name = format!("kernel.{part}.rules10000.per_rule");
        report.add(Figure::new(&name, bytes, "bytes").note(note));
    }
}

fn change(relay: &Relay, generation: u64, yaml: &str) -> Result<Change> {
    let start = relay.write(FILE, yaml)?;
    let applied = time(&relay.applied(POD, generation)?)?;
    let sent = time(&relay.line_of("sending", POD, generation)?)?;
    Ok(Change { host: milliseconds(start, sent)?, guest: milliseconds(sent, applied)? })
}

fn add_changes(report: &mut Report, changes: &[Change]) -> Result<()> {
    let host = changes.iter().map(|change| change.host).collect();
    let guest = changes.iter().map(|change| change.guest).collect();
    let total = changes.iter().map(|change| change.host + change.guest).collect();
    let parts = [
        ("host", host, "rename(2) to the relay's `sending`"),
        ("guest", guest, "`sending` to `applied`, emulated, 2 vCPU"),
        ("total", total, "rename(2) to `applied`"),
    ];
    for (part, samples, note) in parts {
        let sorted = sorted(samples);
        for percent in [50, 95] {
            let value = percentile(&sorted, percent).context("no changes")?;
            let name = format!("change.{part}.p{percent}");
            report.add(Figure::new(&name, value, "ms").note(format!("{CHANGES} changes; {note}")));
        }
    }
    Ok(())
}

/// When the relay wrote a line, by the host's clock.
fn time(entry: &Value) -> Result<SystemTime> {
    let text = entry["timestamp"].as_str().context("a line without a timestamp")?;
    humantime::parse_rfc3339(text).with_context(|| format!("the timestamp {text}"))
}

fn milliseconds(from: SystemTime, to: SystemTime) -> Result<f64> {
    Ok(to.duration_since(from).context("the host's clock went back")?.as_secs_f64() * 1e3)
}
