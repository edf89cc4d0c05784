// SPDX-License-Identifier: Apache-2.0
//! Command lines of the two processes of a VM: the vsock device and QEMU. Decides nothing; what
//! each option is for is said beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kernel::KernelChoice;
use super::process::tied;
use super::{Disk, VmConfig, share};

/// Each VM has a device process of its own, so all can have the lowest free CID.
const GUEST_CID: u32 = 3;

/// The device loses guest writes beyond its two descriptors, silently: keep the guest's packets
/// below the limit of half this buffer.
const TX_BUFFER_SIZE: u32 = 16384;

/// Files that make up a VM.
pub(crate) struct Image<'a> {
    pub kernel: &'a Path,
    pub initrd: &'a Path,
    pub cmdline: &'a str,
}

/// Sockets of a VM.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Between QEMU and the device.
    pub vhost: PathBuf,
    /// Between the host's programs and the device.
    pub hybrid: PathBuf,
    /// Between QEMU and the daemon of the share, if there is one.
    pub share: Option<PathBuf>,
}

/// The device process.
pub(crate) fn vsock_device(program: &Path, sockets: &Sockets) -> Command {
    let mut command = tied(program);
    command.arg("--vm").arg(format!(
        "guest-cid={GUEST_CID},socket={},uds-path={},tx-buffer-size={TX_BUFFER_SIZE}",
        sockets.vhost.display(),
        sockets.hybrid.display()
    ));
    command
}

/// The VM proper, its console on standard output.
pub(crate) fn machine(config: &VmConfig, image: &Image<'_>, sockets: &Sockets) -> Command {
    let mut command = tied("qemu-system-x86_64");
    let memory = config.memory_mib;
    // Never KVM: hosts whose nested KVM is emulated stop in the kernel's decompressor, for ever.
    if config.count_instructions {
        command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]);
        command.args(["-smp", "1"]);
    } else {
        let cpus = processors(config);
        command.args(["-accel", "tcg,thread=multi", "-smp", &cpus.to_string()]);
    }
    // Under QEMU 7.2 (Debian 12) guests with this instruction often crash in the allocator, right
    // after it and with garbage in the flags; not under 10.0. The kernel does without it.
    command.args(["-cpu", "Nehalem,-cx16"]);
    // The device maps the guest's memory, so it has to be a shared object of the same size.
    command.args(["-M", "q35,memory-backend=mem0", "-m", &memory.to_string()]);
    command.arg("-object");
    command.arg(format!("memory-backend-memfd,id=mem0,size={memory}M,share=on"));
    command.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    command.arg("-kernel").arg(image.kernel).arg("-initrd").arg(image.initrd);
    command.args(["-append", image.cmdline]);
    command.arg("-chardev").arg(format!("socket,id=vs0,path={}", sockets.vhost.display()));
    command.args(["-device", "vhost-user-vsock-pci,chardev=vs0"]);
    if let Some(share) = &sockets.share {
        command.arg("-chardev").arg(format!("socket,id=fs0,path={}", share.display()));
        command.arg("-device");
        command.arg(format!("vhost-user-fs-pci,chardev=fs0,tag={},queue-size=1024", share::TAG));
    }
    // As Kata gives its guests: an emulated processor has no entropy of its own, and getrandom(2)
    // would block for minutes.
    command.args(["-object", "rng-random,id=rng0,filename=/dev/urandom"]);
    command.args(["-device", "virtio-rng-pci,rng=rng0"]);
    for (index, disk) in config.disks.iter().enumerate() {
        attach(&mut command, index, disk);
    }
    command.args(&config.qemu_args);
    command
}

/// The guest's writes go to a temporary file: the image stays as it is and may be shared.
fn attach(command: &mut Command, index: usize, disk: &Disk) {
    command.arg("-drive").arg(format!(
        "if=none,id=disk{index},format=raw,snapshot=on,file={}",
        disk.image.display()
    ));
    command.arg("-device");
    command.arg(format!("virtio-blk-pci,drive=disk{index},serial={}", disk.serial));
}

/// Debian's kernels turn jumps on and off in code that another processor runs (cpusets, in the page
/// allocator, at the first container). Under emulation that processor can meet the breakpoint of
/// the change after its end, and the guest dies of it. Ours is built without them.
fn processors(config: &VmConfig) -> u32 {
    if matches!(config.kernel, KernelChoice::Debian(_)) { 1 } else { config.cpus }
}
