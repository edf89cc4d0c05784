// SPDX-License-Identifier: Apache-2.0
//! What the agent promises. Where nothing can be enforced it says all that is missing and what to
//! do, everywhere that somebody may look, and no container runs; with a loss it enforces and says so.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    kernel::Variant,
    node::{Node, NodeConfig, eventually},
    rootfs::{Container, Rootfs},
    vm::KernelChoice,
};
use kadapter_proto::guest::v1::PostureState;

use super::{refused, testifying, witness};
use crate::{
    agent::Agent,
    steps::{becomes_denied, block_program},
};

/// A reason, and its remedy.
type Cause<'a> = (&'a str, &'a str);

const NO_BTF: Cause<'_> =
    ("the kernel has no BTF", "build the guest kernel with CONFIG_DEBUG_INFO_BTF");
const NO_BPF_LSM: Cause<'_> = (
    "the kernel was built without BPF LSM",
    "build the guest kernel with CONFIG_BPF_LSM, and `bpf` in CONFIG_LSM",
);
const INACTIVE: Cause<'_> = (
    "BPF is not an active security module: the kernel has `capability`",
    "boot the guest with `bpf` in lsm=",
);
const NO_TRACER: Cause<'_> =
    ("it has no function tracer", "build the guest kernel with CONFIG_FUNCTION_TRACER");
const LITTLE_MEMORY: Cause<'_> =
    ("the guest has too little memory: ", "give the guest more memory");

const ALL: [Cause<'_>; 5] = [NO_BTF, NO_BPF_LSM, INACTIVE, NO_TRACER, LITTLE_MEMORY];

/// What is said of a guest that refuses.
struct Refusal {
    node: Node,
    /// By the agent's status.
    status: String,
    /// By the relay's log.
    relay: String,
}

impl Refusal {
    fn of(config: &NodeConfig) -> Result<Self> {
        let node = Node::without_session(config)?;
        let relay = node.relay_log().wait("the relay's error", |line| {
            line.contains("ERROR") && line.contains("does not enforce")
        })?;
        node.kill_relay();
        let mut agent = obeying(&node)?;
        let status = agent.status()?;
        ensure!(status.posture() == PostureState::Refusing, "{status:?}");
        ensure!(!agent.is_healthy()?, "it refuses, and says that it is healthy");
        Ok(Self { node, status: status.reason, relay })
    }

    /// All of these causes and no other are named in status and logs, and to a container that is
    /// refused.
    fn is_because_of(&self, causes: &[Cause<'_>]) -> Result<()> {
        witness(&self.node)?;
        let answer = refused(&self.node, &testifying("web"), "web")?;
        let log = self.node.vm.read_file("/var/log/agent.log")?;
        let log = String::from_utf8_lossy(&log);
        for said in [&*self.status, &*self.relay, &*log, &*answer] {
            for cause @ (reason, remedy) in ALL {
                let expected = causes.contains(&cause);
                ensure!(said.contains(reason) == expected, "`{reason}`: {expected}; {said}");
                ensure!(said.contains(remedy) == expected, "`{remedy}`: {expected}; {said}");
            }
        }
        // The relay has stayed, and said it once.
        let said = self.node.relay_log().all();
        let said = said.iter().filter(|line| line.contains("the guest does not enforce")).count();
        ensure!(said == 1, "the relay has said it {said} times");
        // The machine itself is sound: it is the gate that refuses.
        let _free = Container::new("free", Rootfs::Busybox).run(&self.node.vm)?;
        Ok(())
    }
}

/// A client that the agent obeys, as soon as it has seen the relay go: it obeys one at a time.
fn obeying(node: &Node) -> Result<Agent> {
    let mut agent = None;
    eventually("the agent obeys another client", || {
        let mut next = Agent::dial(node)?;
        let is_obeyed = !next.is_second();
        agent = is_obeyed.then_some(next);
        Ok(is_obeyed)
    })?;
    agent.context("no agent was dialled")
}

fn variant(variant: Variant) -> NodeConfig {
    let kernel = KernelChoice::Variant(variant);
    NodeConfig { kernel, ..NodeConfig::new(variant.name()) }
}

#[test]
fn without_bpf_lsm_and_type_information_both_are_missed() -> Result<()> {
    Refusal::of(&variant(Variant::WithoutBpfLsm))?.is_because_of(&[NO_BTF, NO_BPF_LSM])
}

#[test]
fn without_a_function_tracer_it_alone_is_missed() -> Result<()> {
    Refusal::of(&variant(Variant::WithoutFunctionTracer))?.is_because_of(&[NO_TRACER])
}

#[test]
fn a_module_that_was_left_out_at_boot_is_missed_as_such() -> Result<()> {
    let mut config = NodeConfig::new("inactive-bpf-lsm");
    config.cmdline = vec!["lsm=capability".into()];
    Refusal::of(&config)?.is_because_of(&[INACTIVE])
}

#[test]
fn a_guest_with_little_memory_is_told_how_much_it_takes() -> Result<()> {
    // Enough for a container and the agent itself, but not for the kernel's check of the programs.
    let config = NodeConfig { memory_mib: 104, ..NodeConfig::new("little-memory") };
    let refusal = Refusal::of(&config)?;
    ensure!(refusal.status.contains("KiB are available of 49152 KiB"), "{}", refusal.status);
    refusal.is_because_of(&[LITTLE_MEMORY])
}

#[test]
fn with_a_loss_it_enforces_and_says_which() -> Result<()> {
    const REASON: &str = "`no/such` is not exempted from the guard";
    let mut config = NodeConfig::new("degraded");
    config.agent_args = vec!["--exempt-cgroup".into(), "no/such".into()];
    let node = Node::start(&config)?;
    node.relay_log().wait("the relay's warning", |line| {
        line.contains("WARN") && line.contains("POSTURE_STATE_DEGRADED") && line.contains(REASON)
    })?;
    node.pod("web", "nginx")?;
    node.write("block.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    becomes_denied(&web, "/usr/bin/id")?;
    node.kill_relay();
    let mut agent = obeying(&node)?;
    let status = agent.status()?;
    ensure!(status.posture() == PostureState::Degraded, "{status:?}");
    ensure!(status.reason.contains(REASON), "{}", status.reason);
    ensure!(agent.is_healthy()?, "a loss is no reason to be unhealthy");
    Ok(())
}
