// SPDX-License-Identifier: Apache-2.0
//! Containers of every kind of root run in a VM, with hooks, each in its own root.

use e2e::rootfs::{Capabilities, Container, Hook, HookPoint, Rootfs, debian_disks};
use e2e::vm::{GuestFile, Vm, VmConfig};

#[test]
fn busybox_containers_run_programs_under_hard_linked_names() {
    let vm = Vm::boot(&VmConfig::new("rig-busybox")).unwrap();
    let container = Container::new("one", Rootfs::Busybox).run(&vm).unwrap();
    let output = container.exec(&["sh", "-c", "echo out; echo err >&2; exit 3"]).unwrap();
    assert_eq!(output.status(), Some(3), "{output:?}");
    assert_eq!((output.stdout.text(), output.stderr.text()), ("out\n".into(), "err\n".into()));

    let inode = |path: &str| vm.must(&["stat", "-L", "-c", "%d %i", path]).unwrap();
    let root = container.bundle().root();
    let names = ["bin/sh", "bin/ls", "usr/bin/wget"].map(|name| inode(&format!("{root}/{name}")));
    assert!(names.iter().all(|name| *name == names[0]), "one inode, many names: {names:?}");
    assert_ne!(names[0], inode("/bin/busybox"), "not shared with the guest");

    let id = vm.must(&["stat", "-c", "%i", &container.cgroup()]).unwrap();
    assert!(!id.is_empty(), "the cgroup is where it should be");
    container.delete().unwrap();
    assert!(!vm.exec(&["stat", &root]).unwrap().success(), "the root is gone");
}

#[test]
fn debian_containers_run_on_ext4_and_on_overlay() {
    let config = VmConfig { disks: debian_disks().unwrap(), ..VmConfig::new("rig-debian") };
    let vm = Vm::boot(&config).unwrap();
    let roots =
        [("a", Rootfs::DebianExt4), ("b", Rootfs::DebianOverlay), ("c", Rootfs::DebianOverlay)];
    let containers = roots.map(|(id, rootfs)| Container::new(id, rootfs).run(&vm).unwrap());
    for container in &containers {
        let output = container.exec(&["sh", "-ec", "cat /etc/debian_version; : > /new; ls /new"]);
        let output = output.unwrap();
        assert!(output.success() && output.stdout.text().starts_with("12."), "{output:?}");
        assert!(container.exec(&["rm", "/usr/bin/apt"]).unwrap().success(), "each has its own");
    }
    let kinds = containers.each_ref().map(|container| {
        let output = container.exec(&["stat", "-f", "-c", "%T", "/"]).unwrap();
        output.stdout.text().trim().to_owned()
    });
    assert_eq!(kinds, ["ext2/ext3", "overlayfs", "overlayfs"]);
    for container in containers {
        container.delete().unwrap();
    }
}

#[test]
fn a_hook_that_fails_keeps_the_container_from_running() {
    let vm = vm_with_hook("rig-hooks", "cat > /run/state; echo refused >&2; exit 7");
    let hook = Hook::new("/hook", &["hook"]);
    let container = Container::new("one", Rootfs::Busybox)
        .annotation("io.example/key", "value")
        .args(&["touch", "/ran"])
        .hook(HookPoint::Prestart, hook);
    let bundle = container.prepare(&vm).unwrap();
    let output = bundle.run().unwrap();
    assert!(!output.success() && output.stdout.text().contains("exit status 7"), "{output:?}");
    let ran = vm.exec(&["stat", &format!("{}/ran", bundle.root())]).unwrap();
    assert!(!ran.success(), "its program did run");

    let state = String::from_utf8(vm.read_file("/run/state").unwrap()).unwrap();
    for part in
        [r#""id":"one""#, r#""bundle":"/run/containers/one""#, r#""io.example/key":"value""#]
    {
        assert!(state.contains(part), "{part} in {state}");
    }
}

#[test]
fn hooks_run_before_the_start_and_after_the_end() {
    let vm = vm_with_hook("rig-hooks-life", r#"echo "$1 $WHO" >> /run/calls"#);
    let container = Container::new("one", Rootfs::Busybox)
        .hook(HookPoint::Prestart, Hook::new("/hook", &["hook", "before"]).env("WHO", "x"))
        .hook(HookPoint::Poststop, Hook::new("/hook", &["hook", "after"]).timeout_s(20))
        .run(&vm)
        .unwrap();
    assert_eq!(vm.must(&["cat", "/run/calls"]).unwrap(), "before x\n");
    container.delete().unwrap();
    assert_eq!(vm.must(&["cat", "/run/calls"]).unwrap(), "before x\nafter \n");
}

#[test]
fn capabilities_binds_and_environment_reach_the_container() {
    let vm = Vm::boot(&VmConfig::new("rig-spec")).unwrap();
    vm.write_file("/run/shared/file", 0o644, "shared").unwrap();
    let show = "cat /shared/file; echo; echo $WHO; grep CapEff /proc/self/status; exec sleep 1000";
    let start = |id: &str, capabilities| {
        let container = Container::new(id, Rootfs::Busybox)
            .args(&["sh", "-c", show])
            .env("WHO", "me")
            .bind("/run/shared", "/shared")
            .capabilities(capabilities);
        let running = container.run(&vm).unwrap();
        // The program printed it all once it has become `sleep`.
        vm.sh(&format!("until grep -q sleep /proc/{}/comm; do sleep 0.02; done", running.pid()))
            .unwrap();
        running.log().unwrap()
    };
    let default = start("default", Capabilities::Default);
    assert_eq!(default, "shared\nme\nCapEff:\t00000000a80425fb\n");
    let all = start("all", Capabilities::All);
    assert!(all.ends_with("CapEff:\t000001ffffffffff\n"), "{all}");
}

fn vm_with_hook(name: &str, script: &str) -> Vm {
    let hook = GuestFile::bytes("/hook", 0o755, format!("#!/bin/sh\n{script}\n"));
    Vm::boot(&VmConfig { files: vec![hook], ..VmConfig::new(name) }).expect("a VM boots")
}
