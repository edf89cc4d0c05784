// SPDX-License-Identifier: Apache-2.0
//! Every program on every kernel: loaded, attached, and no dearer to verify than it was.
//!
//! One machine for each kernel. A rule set at level `sealed`, with rules on arguments, has the agent
//! load the programs too that few sets need; then one denial shows that they are called.
//! `verified.toml` has the instructions that the verifier followed for each program, which is what
//! limits how large a program may grow.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::Rootfs,
    suites::measured,
    vm::{KernelChoice, Line},
};
use guest_bpf::prototype::PROTOTYPES;

/// Instructions by programs, by kernels.
type Verified = BTreeMap<String, BTreeMap<String, u64>>;

/// Says that the file is to be written anew instead of being compared.
const RENEW: &str = "KADAPTER_RENEW_VERIFIED";

/// In hundredths: of what is recorded, the most that a program may take.
const MOST: u64 = 120;

/// Has each program of the object loaded that is loaded on demand.
const POLICY: &str = "\
apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata:
  name: all-programs
  namespace: shop
  annotations:
    kadapter.io/level: sealed
spec:
  selector:
    matchLabels:
      app: nginx
  process:
    matchPaths:
    - path: /usr/bin/id
    - path: /bin/busybox
      allowedArgs: [sh, -c]
  file:
    matchDirectories:
    - dir: /srv/
      recursive: true
  action: Block
";

#[test]
fn every_program_is_attached_on_the_own_kernel() -> Result<()> {
    on(KernelChoice::Own, "own")
}

#[test]
fn every_program_is_attached_on_debians_6_12() -> Result<()> {
    on(KernelChoice::Debian(Line::V6_12), Line::V6_12.name())
}

#[test]
fn every_program_is_attached_on_debians_6_18() -> Result<()> {
    on(KernelChoice::Debian(Line::V6_18), Line::V6_18.name())
}

#[test]
fn every_program_is_attached_on_debians_newest() -> Result<()> {
    on(KernelChoice::Debian(Line::Newest), Line::Newest.name())
}

fn on(kernel: KernelChoice, name: &str) -> Result<()> {
    let mut config = NodeConfig::new(&format!("programs-{name}"));
    config.kernel = kernel;
    config.agent_args = ["--log", "info,guest_agent::loader=debug"].map(str::to_owned).into();
    let node = Node::start(&config)?;
    let (state, reason) = node.posture()?;
    ensure!(state == "POSTURE_STATE_ENFORCING", "{state}: {reason}");
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    ensure!(web.exec(&["id"])?.success(), "without rules it runs");
    node.write("all-programs.yaml", POLICY)?;
    eventually("the rules are in force", || Ok(!web.exec(&["id"])?.success()))?;
    let pins = node.vm.must(&["ls", "/sys/fs/bpf/kadapter"])?;
    // Younger than 6.12, and in its later releases.
    let hooks = node.vm.sh("grep -c bpf_lsm_mmap_backing_file /proc/kallsyms || true")?;
    let lacks = |program: &str| program == "mmap_backing_file" && hooks.trim() == "0";
    let missing: Vec<_> = PROTOTYPES
        .iter()
        .map(|program| program.program)
        .filter(|program| {
            !lacks(program) && !pins.lines().any(|pin| pin.strip_prefix("link_") == Some(program))
        })
        .collect();
    ensure!(missing.is_empty(), "not attached: {missing:?}; add what needs them to the policy");
    let log = node.vm.read_file("/var/log/agent.log")?;
    let found = verified(&String::from_utf8_lossy(&log))?;
    node.vm.sound()?;
    let total: u64 = found.values().sum();
    let release = node.vm.must(&["uname", "-r"])?;
    measured(&format!(
        "Linux {}: {} programs, {total} instructions verified",
        release.trim(),
        found.len()
    ));
    settle(name, found)
}

/// Instructions of each program, by the agent's log.
fn verified(log: &str) -> Result<BTreeMap<String, u64>> {
    let lines = log.lines().filter(|line| line.contains("a program was loaded"));
    let found = lines.map(|line| {
        let field = |name: &str| {
            let words = line.split_whitespace().filter_map(|word| word.split_once('='));
            let found = words.into_iter().find(|(key, _)| *key == name);
            Some(found?.1.trim_matches('"').to_owned())
        };
        let number = field("verified").and_then(|text| text.parse().ok());
        Ok((field("name").context("a program without a name")?, number.context(line.to_owned())?))
    });
    found.collect()
}

fn record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("system/verified.toml")
}

/// Compares with the record, or renews it.
fn settle(kernel: &str, found: BTreeMap<String, u64>) -> Result<()> {
    static RECORD: Mutex<()> = Mutex::new(());
    let _one_at_a_time = RECORD.lock();
    let text = fs::read_to_string(record()).unwrap_or_default();
    let mut recorded: Verified = toml::from_str(&text).context("verified.toml")?;
    if env::var_os(RENEW).is_some() {
        recorded.insert(kernel.to_owned(), found);
        return write(&recorded);
    }
    let offences = grown(recorded.get(kernel).unwrap_or(&BTreeMap::new()), &found);
    ensure!(
        offences.is_empty(),
        "on {kernel}:\n{}\nIf that is meant: {RENEW}=1 cargo test --package e2e --all-features --test \
         system -- kernels",
        offences.join("\n")
    );
    Ok(())
}

fn write(recorded: &Verified) -> Result<()> {
    const HEAD: &str = "# Instructions that the verifier followed, by kernel and program; written by the \
                        suite `system`.\n\n";
    let mut text = HEAD.to_owned();
    for (kernel, programs) in recorded {
        writeln!(text, "[\"{kernel}\"]")?;
        for (program, count) in programs {
            writeln!(text, "{program} = {count}")?;
        }
        text.push('\n');
    }
    fs::write(record(), text.trim_end().to_owned() + "\n").context("write verified.toml")
}

/// What is not as recorded, or a fifth more.
fn grown(recorded: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Vec<String> {
    let offence = |(program, now): (&String, &u64)| match recorded.get(program) {
        None => Some(format!("{program}: {now} instructions, none are recorded")),
        Some(then) if *now * 100 > *then * MOST => {
            Some(format!("{program}: {now} instructions, {then} are recorded"))
        }
        Some(_) => None,
    };
    found.iter().filter_map(offence).collect()
}

#[test]
fn a_program_that_grew_by_more_than_a_fifth_is_named() {
    let record = |counts: &[(&str, u64)]| -> BTreeMap<String, u64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let recorded = record(&[("file_open", 1000), ("bpf", 10)]);
    assert_eq!(grown(&recorded, &record(&[("file_open", 1200), ("bpf", 9)])), [""; 0]);
    let offences = grown(&recorded, &record(&[("file_open", 1201), ("sb_mount", 1)]));
    assert_eq!(
        offences,
        [
            "file_open: 1201 instructions, 1000 are recorded",
            "sb_mount: 1 instructions, none are recorded"
        ]
    );
}

#[test]
fn counts_are_read_from_the_agents_log() {
    let log = "T DEBUG guest_agent::loader::parallel: a program was loaded name=\"bpf\" verified=12 ms=3\n\
               T INFO guest_agent::loader: programs attached types_ms=1\n";
    assert_eq!(verified(log).unwrap(), BTreeMap::from([("bpf".to_owned(), 12)]));
    assert!(verified("a program was loaded name=\"bpf\" ms=3").is_err());
}
