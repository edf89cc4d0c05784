// SPDX-License-Identifier: Apache-2.0
//! From the start of a guest to an agent that enforces, and what that agent weighs.

use std::time::Instant;

use anyhow::{Context as _, Result};
use guest_init::protocol::READY_MARKER;

use crate::vm::KernelChoice;

use super::{
    report::{Figure, Report},
    rig::{Clock, Guest, resident},
    samples::{percentile, sorted},
};

/// Guests that are booted: an odd number, so that one of them is in the middle.
const BOOTS: usize = 5;

/// What the agent says when its programs are in force, with two times.
const ATTACHED: &str = "programs attached";

/// Times of one boot, in seconds, and memory.
struct Boot {
    init: f64,
    load: f64,
    attach: f64,
    ready: f64,
    resident: f64,
}

/// Boots guests one after the other.
pub(super) fn measure(kernel: KernelChoice, report: &mut Report) -> Result<()> {
    report.condition_of_host("boot and agent")?;
    let boots = (0..BOOTS).map(|_| boot(kernel, report)).collect::<Result<Vec<_>>>()?;
    let mut add = |name, unit, of: fn(&Boot) -> f64, note: &str| -> Result<()> {
        let sorted = sorted(boots.iter().map(of).collect());
        let range = format!("{:.2} to {:.2}; {note}", sorted[0], sorted[sorted.len() - 1]);
        let median = percentile(&sorted, 50).context("no boots")?;
        report.add(Figure::new(name, median, unit).note(range));
        Ok(())
    };
    add("boot.init", "s", |boot| boot.init, "kernel's start to init's ready, by the guest")?;
    add("agent.load", "s", |boot| boot.load, "BTF, maps, verification; by the agent")?;
    add("agent.attach", "s", |boot| boot.attach, "and pins; by the agent")?;
    add("agent.ready", "s", |boot| boot.ready, "exec to enforcing, by the host, 2 vCPU")?;
    add("boot.enforcing", "s", |boot| boot.init + boot.ready, "the sum of both")?;
    add("agent.rss", "MiB", |boot| boot.resident, "VmRSS, enforcing, no container")
}

fn boot(kernel: KernelChoice, report: &mut Report) -> Result<Boot> {
    let guest = Guest::boot(Clock::Host, kernel)?;
    report.condition_of_guest(&guest.vm)?;
    let ready = guest.vm.console().wait_for(READY_MARKER, Instant::now());
    let ready = ready.context("init has no ready line")?;
    let uptime = ready.split_once("uptime=").context("init's ready line has no uptime")?.1;
    let started = Instant::now();
    let agent = guest.start_agent()?;
    let took = started.elapsed().as_secs_f64();
    let attached = guest.vm.console().wait_for(ATTACHED, Instant::now());
    let attached = attached.context("the agent does not say how long loading took")?;
    let status = guest.vm.read_file(&format!("/proc/{agent}/status"))?;
    guest.vm.sound()?;
    Ok(Boot {
        init: uptime.trim().parse().context("init's uptime")?,
        load: milliseconds(&attached, "load_ms")? / 1e3,
        attach: milliseconds(&attached, "attach_ms")? / 1e3,
        ready: took,
        resident: resident(&String::from_utf8_lossy(&status))?,
    })
}

/// A field of a line of the agent's log.
fn milliseconds(line: &str, field: &str) -> Result<f64> {
    let fields = line.split_whitespace().filter_map(|word| word.split_once('='));
    let (_, value) =
        fields.into_iter().find(|(name, _)| *name == field).with_context(|| line.to_owned())?;
    value.parse().with_context(|| format!("`{field}` of the agent's log: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_log_line_is_found_by_its_whole_name() {
        let line = "INFO guest_agent::loader: programs attached load_ms=1652 attach_ms=54\r";
        assert_eq!(milliseconds(line, "attach_ms").unwrap(), 54.0);
        assert_eq!(milliseconds(line, "load_ms").unwrap(), 1652.0);
        assert!(milliseconds(line, "ms").is_err());
    }
}
