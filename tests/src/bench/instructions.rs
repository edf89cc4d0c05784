// SPDX-License-Identifier: Apache-2.0
//! What the product adds to system calls, in instructions of the guest.
//!
//! One boot: first without an agent, then with it, out of scope and in containers with rules. Each
//! place is compared with itself without an agent: same paths, same file system, same program.

use anyhow::Result;

use crate::{rootfs::Rootfs, vm::KernelChoice};

use super::{
    Group,
    operations::{Measured, Plan},
    policies,
    report::{Figure, Report},
    rig::{Clock, Depth, Guest, Relay, TREES, file, measure_inside},
};

/// Pod, and container, of the main measurements.
const POD: &str = "web";

/// Rules in a rule set of ordinary size, and in one that is as large as they should ever be.
const RULES: [usize; 2] = [10, 10_000];

/// File systems besides tmpfs, on which opening alone is measured.
const OTHERS: [(&str, Rootfs); 3] = [
    ("ext4", Rootfs::DebianExt4),
    ("overlay", Rootfs::DebianOverlay),
    ("virtiofs", Rootfs::DebianVirtiofs),
];

/// Measures the groups.
pub(super) fn measure(groups: &[Group], kernel: KernelChoice, report: &mut Report) -> Result<()> {
    let guest = Guest::boot(Clock::Instructions, kernel)?;
    report.condition_of_guest(&guest.vm)?;
    report.condition(
        "instructions: -icount shift=0, 1 vCPU, mitigations=off nokaslr norandmaps; medians, from \
         without an agent to with it in the same place of the same boot; spread: of the middle four fifths \
         of the samples; noise: between the medians of processes; on virtiofs what the opening \
         thread executes, without the host's server, for which it waits some ten times as long",
    );
    let plan = Plan::of(groups);
    let bases = Bases::measure(&plan, &guest)?;
    guest.start_agent()?;
    let relay = Relay::start(&guest)?;
    InScope { plan: &plan, guest: &guest, relay: &relay, bases: &bases }.measure(report)?;
    guest.vm.end()
}

/// What is measured in containers while there is no agent.
struct Bases {
    /// In no container, while there is one: the kernel does more once it has control groups.
    outside: Measured,
    tmpfs: Measured,
    /// In the order of [`other_roots`].
    others: Vec<Measured>,
}

/// What is measured in containers that have rules.
struct InScope<'a> {
    plan: &'a Plan,
    guest: &'a Guest,
    relay: &'a Relay,
    bases: &'a Bases,
}

// === impl Bases ===

impl Bases {
    fn measure(plan: &Plan, guest: &Guest) -> Result<Self> {
        let container = guest.plain("base", Rootfs::Busybox)?;
        let tmpfs = plan.measure(0, |list| measure_inside(&container, list))?;
        let outside = plan.measure(0, |list| guest.measure_outside(list))?;
        container.delete()?;
        let mut others = Vec::new();
        for (_, rootfs) in other_roots(guest) {
            let Some(opens) = plan.opens() else { break };
            let container = guest.plain("base", rootfs)?;
            let opens = on(opens, rootfs);
            others.push(opens.measure(0, |list| measure_inside(&container, list))?);
            container.delete()?;
        }
        Ok(Self { outside, tmpfs, others })
    }
}

// === impl InScope ===

impl InScope<'_> {
    fn measure(&self, report: &mut Report) -> Result<()> {
        self.relay.pod(POD)?;
        let container = self.guest.gated(POD, Rootfs::Busybox)?;
        let outside = self.plan.measure(1, |list| self.guest.measure_outside(list))?;
        add_place(report, "out_of_scope", &self.bases.outside, &outside);
        let measure = |fresh| self.plan.measure(fresh, |list| measure_inside(&container, list));
        add_place(report, "rules0", &self.bases.tmpfs, &measure(0)?);
        for (index, count) in RULES.into_iter().enumerate() {
            self.relay.write("block.yaml", &policies::blocking(count))?;
            self.relay.applied(POD, generation(index + 1))?;
            let measured = measure(index + 1)?;
            add_place(report, &format!("rules{count}"), &self.bases.tmpfs, &measured);
        }
        let Some(opens) = self.plan.opens() else { return Ok(()) };
        self.others(&opens, report)?;
        self.relay.write("allow.yaml", &policies::allowing(&measured_files()))?;
        self.relay.applied(POD, generation(RULES.len() + 1))?;
        // Files that are opened once are not among those allowed.
        let measured = opens.without_first().measure(0, |list| measure_inside(&container, list))?;
        add_place(report, "rules10000_allowed", &self.bases.tmpfs, &measured);
        Ok(())
    }

    /// With the rules that are in force last.
    fn others(&self, opens: &Plan, report: &mut Report) -> Result<()> {
        for ((name, rootfs), base) in other_roots(self.guest).zip(&self.bases.others) {
            self.relay.pod(name)?;
            let container = self.guest.gated(name, rootfs)?;
            let opens = on(opens.clone(), rootfs);
            let measured = opens.measure(1, |list| measure_inside(&container, list))?;
            add_place(report, &format!("rules10000.{name}"), base, &measured);
            container.delete()?;
        }
        Ok(())
    }
}

/// Those of [`OTHERS`] that the guest has.
fn other_roots(guest: &Guest) -> impl Iterator<Item = (&'static str, Rootfs)> {
    let shares = guest.vm.share().is_ok();
    OTHERS.into_iter().filter(move |(_, rootfs)| shares || *rootfs != Rootfs::DebianVirtiofs)
}

/// What is measured of opens on this root.
fn on(opens: Plan, rootfs: Rootfs) -> Plan {
    if rootfs == Rootfs::DebianVirtiofs { opens.served() } else { opens }
}

/// All files that are opened more than once.
fn measured_files() -> Vec<String> {
    let of = |depth| (0..TREES).map(move |tree| file(depth, tree));
    of(Depth::Three).chain(of(Depth::Ten)).collect()
}

/// Generation of a container's rule set after so many changes: the first is that of its start.
fn generation(changes: usize) -> u64 {
    1 + changes as u64
}

/// Two figures of each operation: what `open.warm.depth3` became in a place is
/// `open.PLACE.warm.depth3`.
fn add_place(report: &mut Report, place: &str, base: &Measured, with: &Measured) {
    for ((key, with), base) in with.iter().filter_map(|entry| Some((entry, base.get(&entry.0)?))) {
        let (operation, rest) = key.split_once('.').unwrap_or((key, ""));
        let dot = if rest.is_empty() { "" } else { "." };
        let name = format!("{operation}.{place}{dot}{rest}");
        let note = format!(
            "{:.0} to {:.0}; spread {:.0} and {:.0}, noise {:.0} and {:.0}",
            base.median, with.median, base.spread, with.spread, base.noise, with.noise
        );
        let added =
            Figure::new(&format!("{name}.added"), with.median - base.median, "instructions");
        report.add(added.note(note).noise(base.noise.max(with.noise)));
        report.add(Figure::new(&format!("{name}.ratio"), with.median / base.median, ""));
    }
}
