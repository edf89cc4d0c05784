// SPDX-License-Identifier: Apache-2.0
//! Tasks of no container, and what tasks of a container may not touch: the enforcement itself.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{AGENT, Node, NodeConfig, PATIENCE, eventually},
    rootfs::{Bundle, Capabilities, Container, Medium, Rootfs},
    vm::{GuestFile, Output, Spawn, Vm, VmConfig, static_program},
};
use serde_json::{Value, json};

use crate::steps::{
    allowed, becomes_allowed, becomes_denied, block_program, expect_fields, is_denied, policy, sh,
};

/// Runs a program with mounts and a root of its own, as whoever makes a container does.
fn in_own_namespace(vm: &Vm, bundle: &Bundle<'_>) -> Result<Output> {
    vm.exec(&["unshare", "-m", "chroot", &bundle.root(), "/bin/true"])
}

#[test]
fn a_task_of_no_container_with_mounts_and_root_of_its_own_executes_nothing() -> Result<()> {
    let node = Node::start(&NodeConfig::new("guard"))?;
    let bundle = Container::new("nobody", Rootfs::Busybox).prepare(&node.vm)?;
    node.vm.must(&["chroot", &bundle.root(), "/bin/true"])?;
    node.vm.must(&["unshare", "-m", "/bin/true"])?;

    let output = in_own_namespace(&node.vm, &bundle)?;
    ensure!(is_denied(&output), "{}: {}", output.end, output.stderr.text());
    let event = node.event("the guard's event", |event| event["reason"] == "Guard")?;
    // As a runtime leaves it whose hook did not run.
    let scope = "/sys/fs/cgroup/cri-containerd-4f2a.scope";
    let enter = format!("mkdir {scope} && echo $$ > {scope}/cgroup.procs");
    let script = format!("{enter}; exec unshare -m chroot {} /bin/true", bundle.root());
    ensure!(is_denied(&node.vm.exec(&["sh", "-c", &script])?), "not denied in a cgroup");
    let named = node.event("its id", |event| event["containerID"] == "4f2a")?;
    ensure!(named["reason"] == "Guard", "{named:#}");
    expect_fields(
        &event,
        &[
            ("resource", json!("/bin/true")),
            ("action", json!("Block")),
            ("operation", json!("Process")),
            ("result", json!("Permission denied")),
            ("hook", json!("bprm_check_security")),
            ("errno", json!(13)),
            ("policyNames", json!([])),
            ("ruleIDs", json!([])),
            ("container", json!("")),
            ("containerID", json!("")),
            ("comm", json!("chroot")),
        ],
    )
}

#[test]
fn a_cgroup_can_be_exempted_from_the_guard() -> Result<()> {
    let agent = static_program("guest-agent", "kadapter-agent")?;
    let files = vec![GuestFile::program(AGENT, agent)];
    let vm = Vm::boot(&VmConfig { files, ..VmConfig::new("guard-exempt") })?;
    let bundle = Container::new("nobody", Rootfs::Busybox).prepare(&vm)?;
    // The agent looks for it once, when it starts.
    vm.sh("mkdir /sys/fs/cgroup/exempt")?;
    ensure!(in_own_namespace(&vm, &bundle)?.success(), "denied without an agent");

    let argv =
        [AGENT, "run", "--insecure-no-tls", "--exempt-cgroup", "/exempt"].map(str::to_owned).into();
    vm.spawn(Spawn { argv, log: "/var/log/agent.log".into(), ..Spawn::default() })?;
    let enforcing = vm.console().wait_for_any(&[" enforcing"], Instant::now() + PATIENCE);
    enforcing.context("the agent does not say that it enforces")?;
    ensure!(is_denied(&in_own_namespace(&vm, &bundle)?), "not denied by the guard");
    let join = "echo $$ > /sys/fs/cgroup/exempt/cgroup.procs";
    vm.sh(&format!("{join}; exec unshare -m chroot {} /bin/true", bundle.root())).map(drop)
}

#[test]
fn a_program_that_joins_a_container_has_its_rules() -> Result<()> {
    let node = Node::start(&NodeConfig::new("guard-join"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    let direct = || web.exec(&["/usr/bin/id"]);
    ensure!(direct()?.success(), "denied without a policy");

    node.write("block.yaml", &block_program("no-id", "nginx", "/usr/bin/id"))?;
    eventually("the program that joins is denied", || Ok(is_denied(&direct()?)))?;
    ensure!(is_denied(&web.exec(&["env", "/usr/bin/id"])?), "its child is not denied");
    // Without the runtime: whoever enters all its namespaces and its cgroup.
    let enter = format!("nsenter -t {} -m -p -r", web.pid());
    node.vm.sh(&format!("{enter} /bin/true || exit 0; exit 1"))?;
    let join = format!("echo $$ > {}/cgroup.procs", web.cgroup());
    node.vm.sh(&format!("{join}; exec {enter} /bin/true"))?;
    let output = node.vm.exec(&["sh", "-c", &format!("{join}; exec {enter} /usr/bin/id")])?;
    ensure!(is_denied(&output), "{}: {}", output.end, output.stderr.text());

    node.remove("block.yaml")?;
    eventually("the program that joins runs", || Ok(direct()?.success()))
}

#[test]
fn a_program_that_joins_is_judged_from_the_file_on_that_it_opens_first() -> Result<()> {
    let mut config = NodeConfig::new("guard-join-open").attacked(Medium::Tmpfs);
    config.relay_args = vec!["--default-level".into(), "contained".into()];
    let node = Node::start(&config)?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Attacked(Medium::Tmpfs));
    let web = web.capabilities(Capabilities::All).run(&node.vm)?;
    // Of an overlay that the container makes, only the file behind it is held by its identity.
    allowed(
        &web,
        "cd /tmp && mkdir low over && /bin/busybox mount -t overlay -o lowerdir=/usr/bin:/tmp/low \
         none /tmp/over && ln -s /tmp/over/apt /tmp/link && cp /bin/busybox /tmp/true",
    )?;
    let runs = |program: &str| Ok::<_, anyhow::Error>(web.exec(&[program])?.success());
    ensure!(runs("/tmp/link")? && runs("/tmp/true")?, "denied without a policy");

    node.write("block.yaml", &block_program("no-apt", "nginx", "/usr/bin/apt"))?;
    becomes_denied(&web, "/usr/bin/apt")?;
    let output = web.exec(&["/tmp/link"])?;
    ensure!(is_denied(&output), "{}: {}", output.end, output.stderr.text());
    let of_runtime = |event: &Value| event["argv"] == json!([]) && event["source"] == "";
    node.event("an event of what joins", |event| event["reason"] == "Rule" && of_runtime(event))?;
    let file = "file:\n  matchPaths:\n  - path: /tmp/true\naction: Block";
    node.write("file.yaml", &policy("no-file", "nginx", file))?;
    becomes_denied(&web, "cat /tmp/true")?;
    let output = web.exec(&["/tmp/true"])?;
    ensure!(is_denied(&output), "{}: {}", output.end, output.stderr.text());
    ensure!(runs("/usr/bin/allowed")?, "what no rule names is denied");
    node.remove("block.yaml")?;
    node.remove("file.yaml")?;
    eventually("both run", || Ok(runs("/tmp/link")? && runs("/tmp/true")?))
}

#[test]
fn containers_that_share_their_processes_see_each_other_unless_one_is_under_rules() -> Result<()> {
    let node = Node::start(&NodeConfig::new("guard-shared"))?;
    let mut containers = Vec::new();
    let bundles = ["web", "store"].map(|pod| {
        node.pod(pod, pod)?;
        let container = Node::container(pod, Rootfs::Busybox).capabilities(Capabilities::All);
        let bundle = container.prepare(&node.vm)?;
        share_pids(&bundle, &node.vm)?;
        Ok::<_, anyhow::Error>(bundle)
    });
    for bundle in bundles {
        let bundle = bundle?;
        let output = bundle.run()?;
        ensure!(output.success(), "{}", output.stdout.text());
        containers.push(bundle.running()?);
    }
    let [web, store] = &containers[..] else { anyhow::bail!("two containers") };
    let look = format!("ls -l /proc/{0}/exe && ls /proc/{0}/root/ && ps", store.pid());
    allowed(web, &look)?;

    node.write("block.yaml", &block_program("no-id", "store", "/usr/bin/id"))?;
    becomes_denied(store, "/usr/bin/id")?;
    let denied = |output: Output| output.stderr.text().contains("ermi");
    ensure!(denied(sh(web, &look)?), "it sees a container that is under rules");
    let back = format!("ls /proc/{}/root/", web.pid());
    ensure!(denied(sh(store, &back)?), "it sees a container while it is under rules");
    allowed(store, "ps")?;
    // A look at what is no container's is told, and the looks before it were not.
    ensure!(denied(sh(web, "ls /proc/1/root/")?));
    node.event("the event", |event| event["reason"] == "SelfProtection")?;
    let told = |line: &&String| line.contains("SelfProtection");
    let events = node.events().all();
    let told: Vec<_> = events.iter().filter(told).collect();
    ensure!(told.iter().all(|line| line.contains("\"ls\"")), "{told:#?}");
    node.remove("block.yaml")?;
    becomes_allowed(web, &look)
}

/// Takes the pid namespace out of a bundle, so that the container sees the guest's processes.
fn share_pids(bundle: &Bundle<'_>, vm: &Vm) -> Result<()> {
    let path = format!("{}/config.json", bundle.path());
    let mut config: Value = serde_json::from_slice(&vm.read_file(&path)?)?;
    let namespaces = config["linux"]["namespaces"].as_array_mut().context("namespaces")?;
    let all = namespaces.len();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    ensure!(namespaces.len() < all, "there was no pid namespace");
    vm.write_file(&path, 0o644, serde_json::to_vec(&config)?)
}

#[test]
fn a_privileged_container_reaches_no_process_outside_and_no_bpf() -> Result<()> {
    /// `BPF_MAP_CREATE` with nothing else: invalid, unless it is not even permitted.
    const BPF: &str =
        "syscall(321, 0, 0, 0); print $!{EPERM} ? 'EPERM' : $!{EINVAL} ? 'EINVAL' : $!";
    let node = Node::start(&NodeConfig::new("guard-self").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).capabilities(Capabilities::All);
    let bundle = web.prepare(&node.vm)?;
    share_pids(&bundle, &node.vm)?;
    let output = bundle.run()?;
    ensure!(output.success(), "{}", output.stdout.text());
    let web = bundle.running()?;

    let root = |pid: &str| web.exec(&["cat", &format!("/proc/{pid}/root/etc/passwd")]);
    ensure!(root("self")?.success() && root(&web.pid().to_string())?.success(), "its own");
    node.vm.must(&["ls", "/proc/1/root/"])?;
    let agent = node.vm.must(&["pidof", "kadapter-agent"])?;
    for outside in ["1", agent.trim()] {
        for part in ["root/", "cwd/", "fd/1", "environ", "mem"] {
            let path = format!("/proc/{outside}/{part}");
            node.vm.must(&["test", "-e", &path])?;
            let output = web.exec(&["dd", "count=0", &format!("if={path}")])?;
            let said = output.stderr.text();
            let refused = ["Permission denied", "Operation not permitted"];
            ensure!(refused.iter().any(|text| said.contains(text)), "{path} is open: {said}");
        }
    }

    // The same program, outside any container.
    let free = node.vm.must(&["chroot", &web.bundle().root(), "perl", "-e", BPF])?;
    ensure!(free == "EINVAL", "{free}");
    let output = web.exec(&["perl", "-e", BPF])?;
    ensure!(output.stdout.text() == "EPERM", "{}", output.stdout.text());

    node.write("block.yaml", &block_program("no-apt", "nginx", "/usr/bin/apt"))?;
    becomes_denied(&web, "/usr/bin/apt --version")
}
