// SPDX-License-Identifier: Apache-2.0
//! What happens when a VM, or the process that started it, doesn't do as it should.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::rootfs::debian_share;
use e2e::vm::{GuestFile, Vm, VmConfig, missing_for_share};

use crate::virtiofs::backing_files;

#[test]
fn an_init_that_stays_silent_fails_the_boot_with_the_consoles_end() {
    let script = "#!/bin/busybox sh\necho up but silent\nexec /bin/busybox sleep 1234\n";
    let limit = Duration::from_secs(15);
    let config = VmConfig {
        files: vec![GuestFile::bytes("/silent", 0o755, script)],
        cmdline: vec!["rdinit=/silent".into()],
        boot_limit: limit,
        ..VmConfig::new("rig-silent")
    };
    let started = Instant::now();
    let error = format!("{:#}", Vm::boot(&config).unwrap_err());
    assert!(error.contains("init did not report in time"), "{error}");
    assert!(error.contains("up but silent") && error.contains("vm-logs/rig-silent-"), "{error}");
    // The limit of a machine that does nothing else, ten times as long at the very most.
    assert!(started.elapsed() < 10 * limit + Duration::from_secs(30));
}

#[test]
fn an_init_that_gives_up_says_why() {
    let list = GuestFile::bytes("/modules/load.list", 0o644, "/modules/missing.ko\n");
    let config = VmConfig { files: vec![list], ..VmConfig::new("rig-give-up") };
    let error = format!("{:#}", Vm::boot(&config).unwrap_err());
    assert!(error.contains("load /modules/missing.ko: No such file"), "{error}");
}

#[test]
fn a_kernel_that_panics_fails_the_boot_at_once() {
    let config = VmConfig { cmdline: vec!["rdinit=/none".into()], ..VmConfig::new("rig-panic") };
    let started = Instant::now();
    let error = format!("{:#}", Vm::boot(&config).unwrap_err());
    assert!(error.contains("before init reported") && error.contains("Kernel panic"), "{error}");
    assert!(started.elapsed() < config.boot_limit);
}

#[test]
fn a_kernel_that_complains_fails_its_test() {
    let vm = Vm::boot(&VmConfig::new("rig-complaint")).unwrap();
    vm.sound().unwrap();
    // As a kernel warns, at the level that `quiet` would leave out.
    let complain = |text: &str| {
        vm.sh(&format!("echo '<4>WARNING: {text}' > /dev/kmsg")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        vm.console().wait_for(text, deadline).expect("the console has warnings");
    };
    complain("one");
    let error = vm.sound().unwrap_err().to_string();
    assert!(error.contains("WARNING: one"), "{error}");
    vm.sound().expect("it is told once");
    complain("two");
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(vm)));
    assert!(dropped.is_err(), "what was not asked for is told at the end");
}

#[test]
fn a_vm_that_lives_too_long_is_killed() {
    let config =
        VmConfig { life_limit: Duration::from_secs(20), ..VmConfig::new("rig-life-limit") };
    let vm = Vm::boot(&config).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while vm.exec(&["true"]).is_ok() {
        assert!(Instant::now() < deadline, "it lives");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn nothing_is_left_when_the_process_that_started_a_vm_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "failures::child_that_boots_and_waits", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines = stdout.lines().map(Result::unwrap);
    let hvsock = lines.filter_map(|line| Some(line.split_once(HVSOCK)?.1.to_owned())).next();
    let hvsock = hvsock.expect("the child boots a VM");
    let scratch = Path::new(&hvsock).parent().unwrap().to_str().unwrap();
    let count = if missing_for_share().is_some() { 2 } else { 3 };
    assert_eq!(processes_that_name(scratch).len(), count, "QEMU, the vsock device, virtiofsd");

    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes_that_name(scratch).is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", processes_that_name(scratch));
        thread::sleep(Duration::from_millis(50));
    }
    // The next VM removes what a killed process could not.
    drop(Vm::boot(&VmConfig::new("rig-after-kill")).unwrap());
    assert!(!Path::new(scratch).exists());
    assert!(
        !backing_files().unwrap().iter().any(|file| file.starts_with(scratch)),
        "a loop device is left"
    );
}

const HVSOCK: &str = "hvsock=";

/// Not a test: the process that is killed.
#[test]
#[ignore = "started by another test"]
fn child_that_boots_and_waits() {
    let share = missing_for_share().is_none().then(|| debian_share().unwrap());
    let vm = Vm::boot(&VmConfig { share, ..VmConfig::new("rig-killed") }).unwrap();
    println!("{HVSOCK}{}", vm.hvsock().display());
    // Until the parent closes it, should it fail before it kills.
    let _ = std::io::stdin().read(&mut [0]);
}

fn processes_that_name(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let command_lines = processes.filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    command_lines.filter(|line| line.contains(text)).collect()
}
