// SPDX-License-Identifier: Apache-2.0
//! What the agent takes of its guest, as the kernel says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::vm::Vm;

/// USER_HZ, the unit of times in /proc, on every architecture that Kata runs on.
const TICKS_PER_SECOND: u64 = 100;

/// The agent's process at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footprint {
    /// Resident memory in KiB.
    pub(super) resident: u64,
    /// The most there was of it since the last [`Footprint::reset_peak`], in KiB.
    pub(super) peak: u64,
    /// Time on processors.
    pub(super) time: Duration,
}

impl Footprint {
    /// Takes it.
    pub(super) fn of_agent(vm: &Vm) -> Result<Self> {
        let pid = vm.sh("pidof kadapter-agent")?;
        let status = vm.sh(&format!("cat /proc/{}/status", pid.trim()))?;
        let stat = vm.sh(&format!("cat /proc/{}/stat", pid.trim()))?;
        Ok(Self {
            resident: kibibytes(&status, "VmRSS:")?,
            peak: kibibytes(&status, "VmHWM:")?,
            time: processor_time(&stat).context("times of the agent")?,
        })
    }

    /// Lets the kernel forget the peak: loading the programs takes more than anything after it.
    pub(super) fn reset_peak(vm: &Vm) -> Result<()> {
        vm.sh("echo 5 > /proc/$(pidof kadapter-agent)/clear_refs").map(drop)
    }
}

fn kibibytes(status: &str, field: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.parse().ok()).with_context(|| format!("no {field} in {status}"))
}

/// The 14th and 15th field; the second is a name in brackets, which may hold anything.
fn processor_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
