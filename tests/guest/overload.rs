// SPDX-License-Identifier: Apache-2.0
//! A loop of denials costs the container that makes it: the agent stays small and answers, what is
//! too much is counted to the last one, and what is new arrives.

mod footprint;
mod tally;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig},
    rootfs::{Rootfs, Running},
    suites::measured,
    vm::{End, Spawn, static_program},
};

use crate::steps::policy;
use footprint::Footprint;
use tally::{Tally, number_of};

/// Denials of a loop in the gate; the soak tier asks for more.
const DENIALS: u64 = 100_000;

/// Ten times what a million of them take on a busy machine.
const STORM_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Objects of the loop over objects: more first events than ring and journal hold together.
const MANY: u64 = 4096;

/// In the container: the loop is not to end yet.
const GO_ON: &str = "/tmp/go-on";

/// What the agent may grow by, in KiB: 1024 kept events, 64 that are being sent and 64 queued ones
/// of at most 3 KiB and their allocations, in memory that the allocator does not give back; twice.
const GROWTH: u64 = 2 * (1024 + 64 + 64) * 4;

const EACCES: i32 = 13;

/// A rule for the loop, one for a loop over many objects, and others whose events must not be lost.
const RULES: [(&str, &str); 4] = [
    ("storm", "file:\n  matchPaths: [{path: /srv/storm}]\naction: Block"),
    ("many", "file:\n  matchDirectories: [{dir: /srv/many/}]\naction: Block"),
    ("rare", "file:\n  matchPaths: [{path: /srv/rare}]\naction: Block"),
    ("marks", "file:\n  matchPaths: [{path: /srv/before}, {path: /srv/after}]\naction: Block"),
];

/// A container, and where it makes its denials.
struct Rig {
    node: Node,
    denials: u64,
    /// Of its figures.
    title: &'static str,
}

/// A loop that goes on in a container.
struct Storm<'a> {
    rig: &'a Rig,
    pid: i32,
    /// Opens of each round.
    round: u64,
}

/// The stretch of events around a loop.
struct Stretch {
    first: u64,
    footprint: Footprint,
}

// === impl Rig ===

impl Rig {
    /// One file has all policies: a container that starts has all rules.
    fn start(name: &str, title: &'static str) -> Result<Self> {
        let asked = std::env::var("KADAPTER_DENIALS").ok().and_then(|text| text.parse().ok());
        let node = Node::start(&NodeConfig::new(name))?;
        let policies: Vec<_> = RULES.map(|(name, spec)| policy(name, "nginx", spec)).into();
        node.write("rules.yaml", &policies.join("---\n"))?;
        node.pod("web", "nginx")?;
        Ok(Self { node, denials: asked.unwrap_or(DENIALS), title })
    }

    /// The container, with the files and the program that opens them.
    fn container(&self) -> Result<Running<'_>> {
        let web = Node::container("web", Rootfs::Busybox).run(&self.node.vm)?;
        let root = web.bundle().root();
        let program = fs::read(static_program("guest-init", "guest-storm")?)?;
        self.node.vm.write_file(&format!("{root}/bin/guest-storm"), 0o755, program)?;
        // Not by the container, which may not.
        self.node.vm.sh(&format!(
            "mkdir -p {root}/srv/many && cd {root}/srv && touch storm rare before after && \
             cd many && touch $(seq 0 {})",
            MANY - 1
        ))?;
        Ok(web)
    }

    /// Starts a loop of opens, and one open of `/srv/rare` in its middle; again and again while
    /// there is a file [`GO_ON`].
    fn storm(&self, files: u64, path: &str) -> Result<Storm<'_>> {
        let count = self.denials;
        let round = format!("/bin/guest-storm {count} {files} {path} /srv/rare");
        let script = format!("{round} && while [ -e {GO_ON} ]; do {round} || exit 1; done");
        let argv = ["runc", "exec", "web", "/bin/sh", "-c", &script].map(str::to_owned).into();
        let spawn = Spawn { argv, log: "/var/log/storm.log".into(), ..Spawn::default() };
        let pid = self.node.vm.spawn(spawn)?;
        Ok(Storm { rig: self, pid, round: self.denials + 1 })
    }

    /// Begins a stretch with one denial.
    fn begin(&self, web: &Running<'_>) -> Result<Stretch> {
        open(web, "/srv/before")?;
        let first = number_of(&self.node, "/srv/before")?;
        Footprint::reset_peak(&self.node.vm)?;
        Ok(Stretch { first, footprint: Footprint::of_agent(&self.node.vm)? })
    }

    /// Ends it with one more. What the relay got and what was lost are together what was denied,
    /// the rare one arrived, and the agent did not grow.
    fn end(&self, web: &Running<'_>, stretch: &Stretch, asked: u64) -> Result<()> {
        let now = Footprint::of_agent(&self.node.vm)?;
        open(web, "/srv/after")?;
        let last = number_of(&self.node, "/srv/after")?;
        let rare = number_of(&self.node, "/srv/rare")?;
        ensure!(stretch.first < rare && rare < last, "{} {rare} {last}", stretch.first);
        let tally = Tally::between(&self.node, stretch.first, last)?;
        let before = stretch.footprint;
        measured(&format!(
            "{}: {asked} denials, {} delivered, {} dropped; agent: {:.2} s of processor time, \
             {} KiB resident before, {} at most, {} after",
            self.title,
            tally.delivered,
            tally.dropped,
            (now.time - before.time).as_secs_f64(),
            before.resident,
            now.peak,
            now.resident
        ));
        ensure!(tally.delivered + tally.dropped == asked + 1, "{tally:?} of {asked}");
        ensure!(now.peak <= before.resident + GROWTH, "the agent grew to {} KiB", now.peak);
        Ok(())
    }
}

// === impl Storm ===

impl Storm<'_> {
    /// Waits for its end, and says how many opens there were. Each must have been denied.
    fn end(self) -> Result<u64> {
        let end = self.rig.node.vm.wait(self.pid, STORM_LIMIT)?;
        let log = self.rig.node.vm.read_file("/var/log/storm.log")?;
        let log = String::from_utf8_lossy(&log);
        ensure!(end == End::Exited { status: 0 }, "guest-storm: {end}: {log}");
        let denied = [(EACCES, self.round)].into();
        let (mut asked, mut nanoseconds) = (0, 0);
        for line in log.lines() {
            let round: guest_init::storm::Storm = serde_json::from_str(line).context("its log")?;
            ensure!(round.outcomes == denied, "not all were denied: {:?}", round.outcomes);
            asked += self.round;
            nanoseconds += round.nanoseconds;
        }
        measured(&format!("{}: {} ns for one denial", self.rig.title, nanoseconds / asked));
        Ok(asked)
    }
}

/// One denial.
fn open(web: &Running<'_>, path: &str) -> Result<()> {
    let output = web.exec(&["/bin/guest-storm", "1", "0", path])?;
    let expected = format!("{{\"{EACCES}\":1}}");
    ensure!(output.stdout.text().contains(&expected), "{path}: {}", output.stdout.text());
    Ok(())
}

#[test]
fn a_loop_of_denials_hides_no_other_and_holds_no_container_up() -> Result<()> {
    let rig = Rig::start("overload", "relay that reads")?;
    let web = rig.container()?;
    let stretch = rig.begin(&web)?;
    let go_on = format!("{}{GO_ON}", web.bundle().root());
    rig.node.vm.write_file(&go_on, 0o644, Vec::new())?;
    let storm = rig.storm(0, "/srv/storm")?;
    number_of(&rig.node, "/srv/storm")?;

    let started = Instant::now();
    rig.node.pod("late", "redis")?;
    let late = Node::container("late", Rootfs::Busybox).run(&rig.node.vm)?;
    // The gate would have refused it after eight seconds.
    measured(&format!("{}: a container starts meanwhile in {:?}", rig.title, started.elapsed()));
    rig.node.vm.sh(&format!("rm {go_on}"))?;
    late.delete()?;

    let asked = storm.end()?;
    rig.end(&web, &stretch, asked)
}

#[test]
fn a_loop_over_many_objects_hides_no_other_rule() -> Result<()> {
    let rig = Rig::start("overload-objects", "4096 objects")?;
    let web = rig.container()?;
    let stretch = rig.begin(&web)?;
    let asked = rig.storm(MANY, "/srv/many")?.end()?;
    rig.end(&web, &stretch, asked)
}

#[test]
fn a_relay_that_does_not_read_gets_what_is_new_when_it_does() -> Result<()> {
    let rig = Rig::start("overload-paused", "relay that does not read")?;
    let web = rig.container()?;
    let stretch = rig.begin(&web)?;
    let pause = rig.node.pause_relay()?;
    let asked = rig.storm(0, "/srv/storm")?.end()?;
    drop(pause);
    rig.end(&web, &stretch, asked)
}

#[test]
fn a_relay_that_comes_later_gets_what_is_new() -> Result<()> {
    let rig = Rig::start("overload-alone", "no relay")?;
    let web = rig.container()?;
    let stretch = rig.begin(&web)?;
    rig.node.kill_relay();
    let asked = rig.storm(0, "/srv/storm")?.end()?;
    rig.node.restart_relay()?;
    rig.end(&web, &stretch, asked)
}
