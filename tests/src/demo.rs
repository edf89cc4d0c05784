// SPDX-License-Identifier: Apache-2.0
//! The main job, shown to a person: an ordinary KubeArmorPolicy blocks a program in one of two
//! containers of a VM, under any name, and gives it free again.
//!
//! In: which kernel, and whether to stay. Out: a narrative on standard output, and an error at the
//! first step that does not hold. Everything shown is what the programs really printed.

mod look_around;
mod narrator;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    kernel,
    node::{Node, NodeConfig},
    rootfs::{Rootfs, Running, debian_disks},
    tools,
    vm::{KernelChoice, Output, host_program, static_program},
};

use narrator::Narrator;

/// How the demo is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the guest boots.
    pub kernel: KernelChoice,
    /// Leave all running, and take commands.
    pub keep: bool,
}

const POLICY: &str = "\
apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata:
  name: block-package-manager
  namespace: shop
spec:
  severity: 3
  message: a package manager was started in production
  selector:
    matchLabels:
      app: nginx
  process:
    matchPaths:
    - path: /usr/bin/apt
  action: Block
";

const FILE: &str = "block-package-manager.yaml";

/// The two containers.
struct Containers<'vm> {
    nginx: Running<'vm>,
    redis: Running<'vm>,
}

/// Runs it from nothing to the end.
///
/// # Errors
/// At the first step that does not hold.
pub fn run(options: Options) -> Result<()> {
    let tell = Narrator::new();
    tell.title("Kadapter: a KubeArmorPolicy reaches into a virtual machine");
    prepare(&tell, options.kernel)?;
    let node = start(&tell, options.kernel)?;
    let containers = start_containers(&tell, &node)?;
    let held = play(&tell, &node, &containers).and_then(|()| node.vm.sound());
    if let Err(error) = &held {
        tell.failed(&format!("{error:#}"));
    }
    if options.keep {
        look_around::until_the_end(&tell, &node, &containers)?;
    }
    held
}

/// All that takes long the first time.
fn prepare(tell: &Narrator, kernel: KernelChoice) -> Result<()> {
    if kernel == KernelChoice::Auto && kernel::own()?.is_none() {
        tell.say(
            "The kernel built for Kadapter is not in the cache yet (`cargo xtask kernel build` makes \
             it, in ten minutes or more): this demo boots Debian's cloud kernel instead.",
        );
    }
    static_program("guest-agent", "kadapter-agent")?;
    host_program("host-relay", "kadapter-relay")?;
    tools::vhost_device_vsock()?;
    debian_disks()?;
    Ok(())
}

fn start(tell: &Narrator, kernel: KernelChoice) -> Result<Node> {
    tell.step("Boot a VM (QEMU without KVM), start its agent, start the relay of the node");
    let started = Instant::now();
    let node = Node::start(&NodeConfig { kernel, ..NodeConfig::new("demo").debian() })?;
    let release = node.vm.must(&["uname", "-r"])?;
    tell.say(&format!(
        "Linux {} runs in the VM; the relay speaks with its agent over vsock. {}",
        release.trim(),
        took(started)
    ));
    let (state, reason) = node.posture()?;
    tell.say(&promise(&state, &reason)?);
    Ok(node)
}

/// What the agent's status means. Only an agent whose self-test was denied enforces.
fn promise(state: &str, reason: &str) -> Result<String> {
    const PROVED: &str = "which it says of itself only once a denial was proved on itself";
    match state {
        "POSTURE_STATE_ENFORCING" => Ok(format!("The agent's status: it enforces, {PROVED}.")),
        "POSTURE_STATE_DEGRADED" => {
            Ok(format!("The agent's status: it enforces, {PROVED}, with a loss: {reason}."))
        }
        _ => bail!("the agent does not enforce ({state}): {reason}"),
    }
}

fn start_containers<'vm>(tell: &Narrator, node: &'vm Node) -> Result<Containers<'vm>> {
    tell.step("Start two Debian containers through the agent's gate: app=nginx and app=redis");
    let run = |pod: &str, app: &str| -> Result<Running<'vm>> {
        node.pod(pod, app)?;
        Node::container(pod, Rootfs::DebianOverlay).run(&node.vm)
    };
    let (nginx, redis) = (run("nginx-1", "nginx")?, run("redis-1", "redis")?);
    tell.say("Neither executed an instruction before the relay had sent its rules (none yet).");
    Ok(Containers { nginx, redis })
}

fn play(tell: &Narrator, node: &Node, containers: &Containers<'_>) -> Result<()> {
    let Containers { nginx, redis } = containers;
    tell.step("Without a policy, apt runs in both");
    expect_run(tell, "nginx", nginx, "/usr/bin/apt")?;
    expect_run(tell, "redis", redis, "/usr/bin/apt")?;

    tell.step("Write an ordinary KubeArmorPolicy into the relay's policy directory");
    tell.quote(POLICY);
    let took = change(node, 2, || node.write(FILE, POLICY))?;
    tell.say(&format!(
        "In force {:.0} ms after the file changed: read, selected, verified, hardened, compiled, \
         sent, and acknowledged by the guest.",
        took.as_secs_f64() * 1e3
    ));

    tell.step("Now apt is denied in nginx, and only there");
    expect_denied(tell, "nginx", nginx, "/usr/bin/apt")?;
    expect_run(tell, "redis", redis, "/usr/bin/apt")?;
    show_alert(tell, node, |event| event["resource"] == "/usr/bin/apt")?;

    tell.step("Try to give the program another name");
    let renamed = nginx.exec(&["mv", "/usr/bin/apt", "/usr/bin/other-name"])?;
    let text = printed(&renamed);
    tell.command("nginx", "mv /usr/bin/apt /usr/bin/other-name", &text);
    ensure!(!renamed.success() && text.contains("Permission denied"), "the program was renamed");
    tell.say("The relay added what denies this; the policy speaks of executing alone.");
    show_alert(tell, node, |event| event["primitive"] == "name-guard")?;

    tell.step("Remove the policy");
    let took = change(node, 3, || node.remove(FILE))?;
    tell.say(&format!("Out of force {:.0} ms after the file was gone.", took.as_secs_f64() * 1e3));
    expect_run(tell, "nginx", nginx, "/usr/bin/apt")?;
    tell.done("Every step held.");
    Ok(())
}

/// Time from a change of the policy directory until the guest has acknowledged what follows of it.
fn change(node: &Node, generation: u64, act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    act()?;
    node.applied("nginx-1", generation)?;
    Ok(started.elapsed())
}

fn expect_run(tell: &Narrator, name: &str, container: &Running<'_>, program: &str) -> Result<()> {
    let output = version_of(container, program)?;
    tell.command(name, &format!("{program} --version"), &printed(&output));
    ensure!(output.success(), "{program} should run in {name}, but: {}", output.end);
    Ok(())
}

fn expect_denied(
    tell: &Narrator,
    name: &str,
    container: &Running<'_>,
    program: &str,
) -> Result<()> {
    let output = version_of(container, program)?;
    let text = printed(&output);
    tell.command(name, &format!("{program} --version"), &text);
    ensure!(
        !output.success() && text.contains("Permission denied"),
        "{program} should be denied in {name}, but: {}",
        output.end
    );
    Ok(())
}

/// By way of a shell, whose message a person knows.
fn version_of(container: &Running<'_>, program: &str) -> Result<Output> {
    container.exec(&["/bin/sh", "-c", &format!("{program} --version")])
}

fn printed(output: &Output) -> String {
    format!("{}{}", output.stdout.text(), output.stderr.text()).trim().to_owned()
}

fn show_alert(tell: &Narrator, node: &Node, of: impl Fn(&Value) -> bool) -> Result<()> {
    let alert = node.event("the alert", of)?;
    let text = |field: &str| alert[field].as_str().unwrap_or_default().to_owned();
    let policies = alert["policyNames"].as_array().context("an alert without policies")?;
    let policies: Vec<_> = policies.iter().filter_map(Value::as_str).collect();
    ensure!(policies == ["block-package-manager"], "the alert names {policies:?}");
    tell.quote(&format!(
        "ALERT  policy={} namespace={} pod={} container={}\n       {} of {} by {}: {} (hook {})",
        policies.join(","),
        text("namespace"),
        text("pod"),
        text("container"),
        text("operation"),
        text("resource"),
        text("source"),
        text("result"),
        text("hook"),
    ));
    Ok(())
}

fn took(started: Instant) -> String {
    format!("({:.1} s)", started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::promise;

    #[test]
    fn a_proof_is_told_of_an_agent_that_enforces_alone() {
        assert!(promise("POSTURE_STATE_ENFORCING", "").unwrap().contains("proved"));
        let degraded = promise("POSTURE_STATE_DEGRADED", "events were lost").unwrap();
        assert!(degraded.contains("proved") && degraded.contains("events were lost"), "{degraded}");
        for state in ["POSTURE_STATE_REFUSING", "POSTURE_STATE_STARTING", ""] {
            let error = promise(state, "no BTF").unwrap_err().to_string();
            assert!(error.contains("no BTF") && !error.contains("proved"), "{error}");
        }
    }
}
