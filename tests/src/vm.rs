// SPDX-License-Identifier: Apache-2.0
//! Virtual machines to test in: a real kernel under QEMU without KVM, with real virtio-vsock.
//!
//! ```no_run
//! # use e2e::vm::{Vm, VmConfig};
//! let vm = Vm::boot(&VmConfig::new("example"))?;
//! let output = vm.exec(&["uname", "-r"])?;
//! assert!(output.success(), "{}", output.stderr.text());
//! let hvsock = vm.hvsock(); // for clients of other ports: hvsock://PATH:1034
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Owns the processes, sockets and logs of each VM; several run side by side. In: a [`VmConfig`].
//! Out: a [`Vm`] whose PID 1 (`guest-init`) answers. All of it ends when the [`Vm`] is dropped or
//! this process dies in whatever way; only the logs stay, in `target/vm-logs/<name>-<run>/`. A test
//! that panics prints where they are and how the console ended; one whose guest's kernel has complained
//! on the console fails at the latest when the [`Vm`] is dropped. Containers in the guest are
//! [`crate::rootfs`]'s. Needed on the host: `qemu-system-x86_64` (7.2 or newer), `setpriv`; for the
//! Debian kernel also `depmod` and `xz`.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest_init::protocol::{CONTROL_PORT, FAILED_MARKER, READY_MARKER, Request};

pub use guest_init::protocol::{Bytes, End, Exec, Output, Spawn};

pub use self::console::Console;
pub use self::initramfs::GuestFile;
pub use self::kernel::{KernelChoice, Line, UnknownKernel};
pub(crate) use self::programs::target_directory;
pub use self::programs::{host_program, release_program, static_program};
pub use self::share::{SHARED, Share, missing as missing_for_share};

use crate::patience::{patient, poll};

use self::kernel::BootKernel;
use self::places::Scratch;
use self::process::TiedProcess;
use self::qemu::{Image, Sockets};

mod console;
mod control;
pub(crate) mod guest_tools;
mod initramfs;
mod kernel;
mod places;
pub mod process;
mod programs;
mod qemu;
mod requests;
mod share;

/// Quoted from the console when something fails.
const TAIL_LINES: usize = 30;

/// A VM to be. [`VmConfig::new`] gives one that is good for most tests; change fields as needed.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// Names the log directory.
    pub name: String,
    /// What to boot.
    pub kernel: KernelChoice,
    /// Guest memory.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u32,
    /// Lets the guest's clock count its instructions, one a nanosecond, so that differences of its
    /// monotonic clock are repeatable costs. Takes one processor, and is slower. An idle guest's
    /// clock jumps to its next timer: time limits pass at once while it waits for the host.
    pub count_instructions: bool,
    /// Added to the kernel's command line. Also for init: `kadapter.mounts=all` mounts bpffs and
    /// securityfs.
    pub cmdline: Vec<String>,
    /// Added to the guest's root, which is writable and in memory.
    pub files: Vec<GuestFile>,
    /// Attached as /dev/vda, /dev/vdb, ...
    pub disks: Vec<Disk>,
    /// An ext4 image whose tree the host has, to share with the guest; see [`Share`].
    pub share: Option<PathBuf>,
    /// Added to QEMU's command line.
    pub qemu_args: Vec<String>,
    /// From QEMU's start until PID 1 answers, on a machine that does nothing else; see [`patient`].
    pub boot_limit: Duration,
    /// From QEMU's start until it is killed in any case.
    pub life_limit: Duration,
}

/// A raw disk image. The guest's writes don't reach the file.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The image.
    pub image: PathBuf,
    /// At most 20 bytes; the guest finds it in /sys/block/vd*/serial.
    pub serial: String,
}

/// A running VM.
#[derive(Debug)]
pub struct Vm {
    // In the order of their end: QEMU first, the directory last.
    machine: Arc<TiedProcess>,
    _device: TiedProcess,
    share: Option<Share>,
    /// Its drop ends the watch.
    _watch: Sender<()>,
    console: Console,
    sockets: Sockets,
    logs: PathBuf,
    _scratch: Scratch,
}

// === impl VmConfig ===

impl VmConfig {
    /// 512 MiB, two processors, whichever kernel is there.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kernel: KernelChoice::Auto,
            memory_mib: 512,
            cpus: 2,
            count_instructions: false,
            cmdline: Vec::new(),
            files: Vec::new(),
            disks: Vec::new(),
            share: None,
            qemu_args: Vec::new(),
            boot_limit: Duration::from_secs(120),
            life_limit: Duration::from_secs(1800),
        }
    }
}

// === impl Vm ===

impl Vm {
    /// Starts a VM and waits until its PID 1 answers.
    ///
    /// # Errors
    /// If a part of the VM can't be made, or init doesn't report in time; the error then quotes the
    /// console and names the log.
    pub fn boot(config: &VmConfig) -> Result<Self> {
        let kernel = kernel::resolve(config.kernel)?;
        let scratch = Scratch::new()?;
        let initrd = scratch.join("initrd");
        write_initrd(&initrd, &kernel, &config.files)?;
        let logs = target_directory().join("vm-logs");
        let logs = places::log_directory(&logs, &config.name)?;
        let sockets = Sockets {
            vhost: scratch.join("vh.sock"),
            hybrid: scratch.join("v.sock"),
            share: config.share.as_ref().map(|_| scratch.join("fs.sock")),
        };
        let device = start_device(&sockets, &logs)?;
        let share = start_share(config, &sockets, &scratch, &logs)?;
        // From here on: what was not in the cache took its own time.
        let deadline = Instant::now() + patient(config.boot_limit);
        let cmdline = kernel.command_line(&config.cmdline);
        let image = Image { kernel: &kernel.image, initrd: &initrd, cmdline: &cmdline };
        let machine = qemu::machine(config, &image, &sockets);
        let machine = start_logged(machine, Stdio::piped(), &logs.join("qemu.log"))?;
        let machine = Arc::new(machine);
        let serial = machine.child().stdout.take().context("QEMU has no output")?;
        let vm = Self {
            console: Console::follow(serial, &logs.join("console.log"))?,
            _watch: watch(&machine, config.life_limit),
            machine,
            _device: device,
            share,
            sockets,
            logs,
            _scratch: scratch,
        };
        if let Err(error) = vm.await_init(deadline) {
            vm.stop();
            let error = vm.explain(error);
            // What it complained of is part of the error.
            vm.console.take_complaint();
            return Err(error);
        }
        if vm.share.is_some() {
            vm.sh(&share::mount_in_guest())?;
        }
        Ok(vm)
    }

    fn await_init(&self, deadline: Instant) -> Result<()> {
        let line = self.console.wait_for_any(&[READY_MARKER, FAILED_MARKER], deadline);
        let Some(line) = line else {
            // A console that closed is seen a little before its process has ended.
            match poll(Instant::now() + Duration::from_secs(1), || self.machine.ended()) {
                Some(status) => bail!("QEMU ended ({status}) before init reported"),
                None => bail!("init did not report in time"),
            }
        };
        ensure!(line.contains(READY_MARKER), "{line}");
        self.at_control(|guest| guest.connect(CONTROL_PORT, deadline)).map(drop)
    }

    /// Does something over the control channel.
    fn at_control<T>(&self, work: impl FnOnce(control::Guest<'_>) -> T) -> T {
        let is_gone = || self.machine.ended().is_some();
        work(control::Guest { hvsock: &self.sockets.hybrid, is_gone: &is_gone })
    }

    /// Adds what a human needs to find out why.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(self.last_words())
    }

    fn last_words(&self) -> String {
        let said = fs::read_to_string(self.logs.join("qemu.log")).unwrap_or_default();
        format!(
            "VM logs in {}; QEMU said {:?}; the console's end:\n{}\n",
            self.logs.display(),
            said.trim(),
            self.console.tail(TAIL_LINES)
        )
    }

    /// Opens a stream to a vsock port of the guest, trying until the deadline.
    ///
    /// # Errors
    /// If nobody listens there by then.
    pub fn connect(&self, port: u32, deadline: Instant) -> Result<UnixStream> {
        let connected = self.at_control(|guest| guest.connect(port, deadline));
        connected.map_err(|error| self.explain(error))
    }

    /// The hybrid socket of the VM's vsock device. For connections that the guest opens to port P
    /// listen on this path with `_P` appended.
    #[must_use]
    pub fn hvsock(&self) -> &Path {
        &self.sockets.hybrid
    }

    /// What the host shares with it.
    ///
    /// # Errors
    /// If its configuration has none.
    pub fn share(&self) -> Result<&Share> {
        self.share.as_ref().context("the VM has no share")
    }

    /// Asks whether the guest's kernel is sound, as far as its console tells.
    ///
    /// # Errors
    /// If it has complained since this was asked last. What is not asked for is looked for when the
    /// VM is dropped, which then panics.
    pub fn sound(&self) -> Result<()> {
        match self.console.take_complaint() {
            Some(complaint) => {
                let logs = self.logs.display();
                bail!("the guest's kernel complains; VM logs in {logs}:\n{complaint}")
            }
            None => Ok(()),
        }
    }

    /// Ends the VM.
    ///
    /// # Errors
    /// As [`Vm::sound`].
    pub fn end(self) -> Result<()> {
        self.stop();
        self.sound()
    }

    fn stop(&self) {
        self.machine.kill();
        // A pipe has no more than some kilobytes left in it.
        self.console.wait_for_end(Instant::now() + Duration::from_secs(10));
    }

    /// The serial console.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The directory of this run's logs.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Kills QEMU, as a crash of the VM would.
    pub fn crash(&self) {
        self.machine.kill();
    }

    /// Shuts the guest down and waits for the end of QEMU.
    ///
    /// # Errors
    /// If QEMU goes on after `limit`.
    pub fn power_off(self, limit: Duration) -> Result<()> {
        // The guest never replies to this one.
        let _ = self.at_control(|guest| guest.call(&Request::PowerOff, Duration::ZERO));
        let ended = poll(Instant::now() + limit, || self.machine.ended());
        ended.map(drop).ok_or_else(|| self.explain(anyhow::anyhow!("the VM did not power off")))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if thread::panicking() {
            // The test harness shows this with the test that failed.
            eprintln!("{}", self.last_words());
            return;
        }
        self.stop();
        if let Err(error) = self.sound() {
            panic!("{error:#}");
        }
    }
}

fn write_initrd(path: &Path, kernel: &BootKernel, extra: &[GuestFile]) -> Result<()> {
    let mut files = vec![GuestFile::program("/init", static_program("guest-init", "guest-init")?)];
    files.extend_from_slice(extra);
    let base = guest_tools::base_archive()?;
    let mut initrd = Vec::new();
    for archive in kernel.archives.iter().chain([&base]) {
        let bytes = fs::read(archive);
        initrd.extend(bytes.with_context(|| format!("read {}", archive.display()))?);
        // The kernel skips zeros, and takes an archive for one only at a multiple of four.
        initrd.resize(initrd.len().next_multiple_of(4), 0);
    }
    initrd.extend(initramfs::archive(&files)?);
    fs::write(path, initrd).with_context(|| format!("write {}", path.display()))
}

fn start_device(sockets: &Sockets, logs: &Path) -> Result<TiedProcess> {
    let program = crate::tools::vhost_device_vsock()?;
    let device = qemu::vsock_device(&program, sockets);
    start_listener(device, &sockets.vhost, &logs.join("vsock-device.log"))
}

fn start_share(
    config: &VmConfig,
    sockets: &Sockets,
    scratch: &Scratch,
    logs: &Path,
) -> Result<Option<Share>> {
    let (Some(image), Some(socket)) = (&config.share, &sockets.share) else { return Ok(None) };
    let directory = scratch.join("share");
    let daemon = share::daemon(image, &directory, socket)?;
    let daemon = start_listener(daemon, socket, &logs.join("virtiofsd.log"))?;
    Ok(Some(Share::new(daemon, directory)))
}

/// Starts a process and waits until its socket is there.
fn start_listener(command: Command, socket: &Path, log: &Path) -> Result<TiedProcess> {
    let process = start_logged(command, Stdio::null(), log)?;
    // It starts in a tenth of a second.
    let deadline = Instant::now() + patient(Duration::from_secs(60));
    let listening = poll(deadline, || (socket.exists() || process.ended().is_some()).then_some(()));
    if listening.is_none() || process.ended().is_some() {
        let said = fs::read_to_string(log).unwrap_or_default();
        bail!("nobody listens on {}; what was started said: {said}", socket.display());
    }
    Ok(process)
}

/// Starts a tied process, its standard error in a file.
fn start_logged(mut command: Command, output: Stdio, log: &Path) -> Result<TiedProcess> {
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output).stderr(file);
    TiedProcess::start(command)
}

/// Kills the machine after `limit`, unless what it returns is dropped before.
fn watch(machine: &Arc<TiedProcess>, limit: Duration) -> Sender<()> {
    let (alive, ended) = mpsc::channel();
    let machine = Arc::downgrade(machine);
    thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
            && let Some(machine) = machine.upgrade()
        {
            machine.kill();
        }
    });
    alive
}
