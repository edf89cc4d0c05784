// SPDX-License-Identifier: Apache-2.0
//! The agent dies at any moment, and nothing changes for the containers: the kernel goes on, the
//! next agent takes over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{AGENT, Node, NodeConfig, eventually},
    rootfs::{Rootfs, Running},
    vm::Spawn,
};

use crate::steps::{allowed, becomes_allowed, becomes_denied, block_program, denied, event_on, sh};

/// Kills in the gate; the soak tier asks for more.
const KILLS: u32 = 10;

/// Longest pause before a kill, in milliseconds: start, takeover and an apply lie in it.
const LONGEST_PAUSE: u64 = 1500;

/// The agents of a guest: the keeper is the same program under another name.
const AGENTS: &str = "agents() { for pid in $(pidof kadapter-agent); do \
                      grep -q '^kadapter-keeper' /proc/$pid/cmdline || echo $pid; done | grep .; }";

pub(crate) fn kill_agent(node: &Node) -> Result<()> {
    // Its self-test's child may end by itself between the look and the kill.
    let kill = "agents && while pids=$(agents); do kill -9 $pids || :; done";
    node.vm.sh(&format!("{AGENTS}\n{kill}"))?;
    Ok(())
}

/// Has the descriptors closed that outlive the agent.
pub(crate) fn kill_keeper(node: &Node) -> Result<()> {
    node.vm.sh("kill -9 $(pidof kadapter-keeper)").map(drop)
}

fn start_agent(node: &Node) -> Result<()> {
    let argv = vec![AGENT.to_owned(), "run".to_owned()];
    node.vm.spawn(Spawn { argv, log: "/var/log/agent.log".into(), ..Spawn::default() })?;
    Ok(())
}

/// How often the agents of this node have said that they enforce.
fn times_enforcing(node: &Node) -> usize {
    node.vm.console().text().matches(" enforcing").count()
}

pub(crate) fn restart_agent(node: &Node) -> Result<()> {
    let before = times_enforcing(node);
    start_agent(node)?;
    eventually("the agent enforces again", || Ok(times_enforcing(node) > before))
}

#[test]
fn a_dead_agent_changes_no_verdict_and_the_next_one_takes_over() -> Result<()> {
    let node = Node::start(&NodeConfig::new("takeover").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    allowed(&web, "ln /usr/bin/apt /usr/bin/linked && /usr/bin/linked --version")?;
    node.write("block.yaml", &block_program("no-apt", "nginx", "/usr/bin/apt"))?;
    becomes_denied(&web, "/usr/bin/apt --version")?;
    event_on(&node, "/usr/bin/apt", "Block")?;

    kill_agent(&node)?;
    node.vm.sh("echo 3 > /proc/sys/vm/drop_caches")?;
    denied(&web, "/usr/bin/apt --version")?;
    denied(&web, "/usr/bin/linked --version")?;
    allowed(&web, "/usr/bin/apt-get --version")?;

    let applied = |node: &Node| {
        node.relay_log().all().iter().filter(|line| line.contains("\"applied\"")).count()
    };
    let sent = applied(&node);
    restart_agent(&node)?;
    node.vm.console().wait_for("taking over reason", deadline()).context("it only started")?;
    denied(&web, "/usr/bin/apt --version")?;
    // What was denied meanwhile is reported now, by the agent that found it in the ring.
    event_on(&node, "/usr/bin/linked", "Block")?;
    ensure!(applied(&node) == sent, "a rule set was sent that was in force");

    node.write("more.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    becomes_denied(&web, "/usr/bin/id")?;
    let numbers = sequence_numbers(&node)?;
    ensure!(numbers.is_sorted_by(|one, next| one < next), "numbers went back: {numbers:?}");

    // The old set is erased by an agent that did not write it, the container by one that did not
    // register it.
    node.remove("block.yaml")?;
    node.remove("more.yaml")?;
    becomes_allowed(&web, "/usr/bin/apt --version && /usr/bin/id")?;
    web.delete()?;
    let again = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    allowed(&again, "/usr/bin/apt --version")
}

fn sequence_numbers(node: &Node) -> Result<Vec<u64>> {
    let number = |line: &String| {
        let event: serde_json::Value = serde_json::from_str(line).context("an event is no JSON")?;
        event["sequence"].as_u64().context("an event without a number")
    };
    node.events().all().iter().map(number).collect()
}

#[test]
fn a_container_that_ended_without_an_agent_is_given_up_by_the_next() -> Result<()> {
    let node = Node::start(&NodeConfig::new("takeover-ended"))?;
    node.pod("web", "nginx")?;
    node.pod("other", "redis")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    let other = Node::container("other", Rootfs::Busybox).run(&node.vm)?;
    kill_agent(&node)?;
    // The hook cannot tell anybody; runc goes on without it.
    node.vm.exec(&["runc", "delete", "--force", "web"])?;
    drop(web);
    restart_agent(&node)?;
    node.vm.console().wait_for("is not taken over", deadline()).context("web was taken over")?;
    node.write("block.yaml", &block_program("no-ls", "redis", "/bin/ls"))?;
    becomes_denied(&other, "/bin/ls /")?;
    pins_that_are_not_all_stay_in_force(&node, &other)
}

/// To an agent, what has a hook less than it knows is what another build looks like.
fn pins_that_are_not_all_stay_in_force(node: &Node, other: &Running<'_>) -> Result<()> {
    kill_agent(node)?;
    node.vm.sh("rm /sys/fs/bpf/kadapter/link_path_mkdir")?;
    start_agent(node)?;
    let console = node.vm.console();
    let said = console.wait_for("refusing every container", deadline());
    let said = said.context("the agent does not refuse")?;
    for part in ["link_path_mkdir", "goes on enforcing", "restart the guest"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    denied(other, "/bin/ls /")?;
    allowed(other, "/bin/cat /etc/passwd")?;
    node.vm.sh("test -e /sys/fs/bpf/kadapter/link_file_open")?;
    let late = Node::container("web", Rootfs::Busybox).prepare(&node.vm)?.run()?;
    ensure!(!late.success(), "a container started without its rules");
    Ok(())
}

fn deadline() -> std::time::Instant {
    std::time::Instant::now() + e2e::node::PATIENCE
}

/// Two containers that try, over and over, what is allowed and what is denied, and keep every
/// outcome that is wrong.
const LOOP: &str = "while :; do \
    /bin/cat /etc/passwd > /dev/null || echo allowed-failed >> /tmp/wrong; \
    /bin/ls / > /dev/null 2>&1 && echo denied-passed >> /tmp/wrong; \
    echo x >> /tmp/rounds; done";

fn start_loop(node: &Node, container: &str) -> Result<()> {
    let argv = ["runc", "exec", container, "/bin/sh", "-c", LOOP].map(str::to_owned).into();
    node.vm.spawn(Spawn { argv, log: format!("/var/log/{container}.log"), ..Spawn::default() })?;
    Ok(())
}

fn wrong(container: &Running<'_>) -> Result<String> {
    Ok(sh(container, "/bin/cat /tmp/wrong 2> /dev/null; true")?.stdout.text())
}

fn rounds(container: &Running<'_>) -> Result<u64> {
    let output = sh(container, "/usr/bin/wc -l < /tmp/rounds")?.stdout.text();
    output.trim().parse().with_context(|| format!("rounds: {output}"))
}

/// A small generator, so that a run can be repeated from its seed (Numerical Recipes' constants).
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn kills_at_random_moments_let_nothing_pass_and_stop_nothing() -> Result<()> {
    let kills = std::env::var("KADAPTER_KILLS").ok().and_then(|text| text.parse().ok());
    let kills = kills.unwrap_or(KILLS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seed = std::env::var("KADAPTER_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(now);
    println!("KADAPTER_SEED={seed} KADAPTER_KILLS={kills}");
    let mut moments = Moments(seed);

    let node = Node::start(&NodeConfig::new("kills"))?;
    let mut containers = Vec::new();
    for pod in ["web", "store"] {
        node.pod(pod, "nginx")?;
        containers.push(Node::container(pod, Rootfs::Busybox).run(&node.vm)?);
    }
    for container in &containers {
        allowed(container, "/bin/ls / && /bin/cat /etc/passwd")?;
    }
    node.write("block.yaml", &block_program("no-ls", "nginx", "/bin/ls"))?;
    for container in &containers {
        becomes_denied(container, "/bin/ls /")?;
    }
    start_loop(&node, "web")?;
    start_loop(&node, "store")?;

    for kill in 0..kills {
        // An apply is under way in half of them.
        if moments.next(2) == 0 {
            let extra = format!("/usr/bin/none-{kill}");
            node.write("extra.yaml", &block_program("extra", "nginx", &extra))?;
        }
        // The moment itself is what is tried, not a wait for something.
        std::thread::sleep(Duration::from_millis(moments.next(LONGEST_PAUSE)));
        kill_agent(&node)?;
        start_agent(&node)?;
    }
    let before = times_enforcing(&node);
    kill_agent(&node)?;
    start_agent(&node)?;
    eventually("the last agent enforces", || Ok(times_enforcing(&node) > before))?;
    for container in &containers {
        ensure!(wrong(container)?.is_empty(), "seed {seed}: {}", wrong(container)?);
        ensure!(rounds(container)? > u64::from(kills), "seed {seed}: the loop stood still");
    }
    node.remove("block.yaml")?;
    for container in &containers {
        becomes_allowed(container, "/bin/ls /")?;
    }
    Ok(())
}
