// SPDX-License-Identifier: Apache-2.0
//! Booting, the control channel, and how PID 1 treats processes.

use std::thread;
use std::time::{Duration, Instant};

use e2e::vm::{End, Exec, KernelChoice, Line, Spawn, Vm, VmConfig};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_program_returns_its_status_and_output() {
    let vm = Vm::boot(&VmConfig::new("rig-exec")).unwrap();
    let output = vm.exec(&["sh", "-c", "echo out; echo err >&2; exit 3"]).unwrap();
    assert_eq!(output.status(), Some(3));
    assert_eq!((output.stdout.text(), output.stderr.text()), ("out\n".into(), "err\n".into()));

    let output = vm.exec(&["sh", "-c", "kill -9 $$"]).unwrap();
    assert_eq!(output.end, End::Signaled { signal: 9 });
    let missing = vm.exec(&["no-such-program"]).unwrap_err();
    assert!(format!("{missing:#}").contains("start no-such-program"), "{missing:#}");

    let cat = Exec {
        argv: vec!["sh".into(), "-c".into(), "pwd; echo $WHO; cat".into()],
        env: vec![("WHO".into(), "me".into())],
        cwd: Some("/proc".into()),
        stdin: vec![0xff, 0x00].into(),
        timeout_ms: 20_000,
    };
    assert_eq!(vm.run(cat).unwrap().stdout.0, b"/proc\nme\n\xff\x00");
    vm.power_off(SOON).unwrap();
}

#[test]
fn the_debian_kernel_boots_as_well() {
    let config = VmConfig {
        kernel: KernelChoice::Debian(Line::V6_12),
        ..VmConfig::new("rig-debian-kernel")
    };
    let vm = Vm::boot(&config).unwrap();
    let release = vm.must(&["uname", "-r"]).unwrap();
    assert!(release.contains("-cloud-"), "{release}");
    let lsms = vm.sh("mkdir /mnt; mount -t securityfs none /mnt; cat /mnt/lsm").unwrap();
    assert!(lsms.split(',').any(|lsm| lsm == "bpf"), "{lsms}");
}

#[test]
fn file_systems_of_the_agent_are_mounted_on_request_only() {
    let plain = Vm::boot(&VmConfig::new("rig-mounts")).unwrap();
    let all =
        VmConfig { cmdline: vec!["kadapter.mounts=all".into()], ..VmConfig::new("rig-mounts") };
    let all = Vm::boot(&all).unwrap();
    let mounts = |vm: &Vm| vm.must(&["cat", "/proc/mounts"]).unwrap();
    let (plain_mounts, all_mounts) = (mounts(&plain), mounts(&all));
    for kind in ["bpf", "securityfs"] {
        let kind = format!(" {kind} ");
        assert!(!plain_mounts.contains(&kind), "{plain_mounts}");
        assert!(all_mounts.contains(&kind), "{all_mounts}");
    }
    let controllers = plain.must(&["cat", "/sys/fs/cgroup/cgroup.subtree_control"]).unwrap();
    assert_eq!(controllers, "cpu memory pids\n");
}

#[test]
fn two_vms_run_at_once() {
    let boot = || Vm::boot(&VmConfig::new("rig-pair")).unwrap();
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(boot);
        (boot(), one.join().unwrap())
    });
    let boot_id = |vm: &Vm| vm.read_file("/proc/sys/kernel/random/boot_id").unwrap();
    assert_ne!(boot_id(&one), boot_id(&other));
    one.crash();
    assert!(other.exec(&["true"]).unwrap().success(), "the other one goes on");
}

/// More than the vsock device's buffers hold, which is where it loses bytes if misconfigured.
#[test]
fn megabytes_pass_both_ways_unchanged() {
    let vm = Vm::boot(&VmConfig::new("rig-bulk")).unwrap();
    let sent: Vec<u8> =
        (0..8_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vm.write_file("/tmp/bulk", 0o600, sent.clone()).unwrap();
    assert!(vm.read_file("/tmp/bulk").unwrap() == sent, "as a file");
    let output = vm.exec(&["cat", "/tmp/bulk"]).unwrap();
    assert!(output.stdout.0 == sent, "as output");
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let vm = Vm::boot(&VmConfig::new("rig-limit")).unwrap();
    let argv = ["sh", "-c", "echo started; sleep 1234 & wait"].map(str::to_owned).into();
    let output = vm.run(Exec { argv, timeout_ms: 1_000, ..Exec::default() }).unwrap();
    assert_eq!((output.end, output.stdout.text()), (End::TimedOut, "started\n".into()));
    let left = vm.exec(&["pidof", "sleep"]).unwrap();
    assert!(!left.success(), "still there: {left:?}");
}

#[test]
fn what_a_program_leaves_behind_neither_blocks_it_nor_stays_a_zombie() {
    let vm = Vm::boot(&VmConfig::new("rig-orphans")).unwrap();
    let started = Instant::now();
    let output = vm.exec(&["sh", "-c", "sleep 0.1 & sleep 30 & echo done"]).unwrap();
    assert_eq!(output.stdout.text(), "done\n");
    assert!(started.elapsed() < SOON, "it waited for its children");
    // The shell of each round is newer than the orphan, so one of the rounds finds it collected.
    let zombies = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    let deadline = Instant::now() + SOON;
    while vm.exec(&["sh", "-c", zombies]).unwrap().stdout.text() != "0\n" {
        assert!(Instant::now() < deadline, "a zombie stays");
    }
}

#[test]
fn a_spawned_program_logs_to_file_and_console_until_it_is_killed() {
    let vm = Vm::boot(&VmConfig::new("rig-spawn")).unwrap();
    let argv = ["sh", "-c", "echo to the log; exec sleep 1234"].map(str::to_owned).into();
    let spawn = Spawn { argv, log: "/var/log/spawned".into(), ..Spawn::default() };
    let pid = vm.spawn(spawn).unwrap();
    assert!(vm.console().wait_for("[sh] to the log", Instant::now() + SOON).is_some());
    assert_eq!(vm.read_file("/var/log/spawned").unwrap(), b"to the log\n");
    assert_eq!(vm.wait(pid, Duration::ZERO).unwrap(), End::TimedOut);
    vm.kill(pid, 15).unwrap();
    assert_eq!(vm.wait(pid, SOON).unwrap(), End::Signaled { signal: 15 });
    assert!(vm.wait(pid, SOON).is_err(), "it is forgotten");
}

#[test]
fn a_guest_that_counts_instructions_does_not_wait_for_time_to_pass() {
    let config = VmConfig { count_instructions: true, ..VmConfig::new("rig-icount") };
    let vm = Vm::boot(&config).unwrap();
    let started = Instant::now();
    let argv = ["sleep", "1000"].map(str::to_owned).into();
    let output = vm.run(Exec { argv, timeout_ms: 2_000_000, ..Exec::default() }).unwrap();
    assert!(output.success(), "{output:?}");
    assert!(started.elapsed() < SOON);
}
