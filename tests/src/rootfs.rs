// SPDX-License-Identifier: Apache-2.0
//! Containers in a test VM: root file systems as real images have them, run by runc.
//!
//! ```no_run
//! # use e2e::rootfs::{Container, Rootfs};
//! # use e2e::vm::{Vm, VmConfig};
//! # let vm = Vm::boot(&VmConfig::new("example"))?;
//! let container = Container::new("web", Rootfs::Busybox).annotation("key", "value").run(&vm)?;
//! assert!(container.exec(&["cat", "/etc/passwd"])?.success());
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! In: a [`Container`]. Out: a bundle in the guest below `/run/containers/<id>/`, and a [`Running`]
//! container to run programs in. Each container can write to its root without another one seeing
//! it. Containers end with their VM. The product's gate and rules are not known here.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::patience::patient_ms;
use crate::vm::{Disk, End, Exec, Output, SHARED, Vm};

pub use self::attacked::{Medium, UnknownMedium};
pub use self::debian::Image;
pub use self::spec::{Capabilities, Hook, HookPoint};

mod attacked;
mod debian;
mod spec;

/// What [`Bundle::run`] and [`Running::exec`] allow a program.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a container's files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rootfs {
    /// One static program under some hundred names, all hard links to one inode, in tmpfs.
    Busybox,
    /// Debian bookworm on ext4. For one container at a time; the VM needs [`debian_disks`].
    DebianExt4,
    /// The same image as the lower layer of an overlay whose upper one is in tmpfs. The VM needs
    /// [`debian_disks`].
    DebianOverlay,
    /// As [`Rootfs::DebianExt4`], an overlay whose layers are both on that disk.
    DebianOverlayOnDisk,
    /// As [`Rootfs::DebianOverlay`], a copy of the image in tmpfs.
    DebianTmpfs,
    /// The same image as the lower layer of an overlay of the host, which the guest has over
    /// virtio-fs. The VM needs [`debian_share`].
    DebianVirtiofs,
    /// A small image to attack. The VM needs what its [`Medium`] says.
    Attacked(Medium),
}

/// A container to be.
#[derive(Debug, Clone)]
pub struct Container {
    id: String,
    rootfs: Rootfs,
    args: Vec<String>,
    env: Vec<String>,
    annotations: Vec<(String, String)>,
    binds: Vec<(String, String)>,
    hooks: Vec<(HookPoint, Hook)>,
    capabilities: Capabilities,
}

/// A bundle in the guest that nothing runs from yet.
#[derive(Debug)]
pub struct Bundle<'vm> {
    vm: &'vm Vm,
    id: String,
    rootfs: Rootfs,
}

/// A container that was started.
#[derive(Debug)]
pub struct Running<'vm> {
    bundle: Bundle<'vm>,
    pid: i32,
}

/// The disks that a VM needs for Debian containers, [`disks`] of the minimal image.
///
/// # Errors
/// If the image is not in the cache and can't be made.
pub fn debian_disks() -> Result<Vec<Disk>> {
    disks(Image::Minimal)
}

/// The disks that a VM needs for containers of an image: the image twice, to be written by one
/// container and to be the lower layer of the others.
///
/// # Errors
/// If the image is not in the cache and can't be made.
pub fn disks(image: Image) -> Result<Vec<Disk>> {
    let image = image.path()?;
    Ok([EXT4_DISK, OVERLAY_DISK]
        .map(|serial| Disk { image: image.clone(), serial: serial.to_owned() })
        .into())
}

/// The image that a VM needs as its share for Debian containers on virtio-fs.
///
/// # Errors
/// If the image is not in the cache and can't be made.
pub fn debian_share() -> Result<PathBuf> {
    share(Image::Minimal)
}

/// The image as a VM needs it for containers on virtio-fs.
///
/// # Errors
/// If the image is not in the cache and can't be made.
pub fn share(image: Image) -> Result<PathBuf> {
    image.path()
}

const EXT4_DISK: &str = "debian-ext4";
const OVERLAY_DISK: &str = "debian-lower";

// === impl Rootfs ===

impl Rootfs {
    /// Whether the host makes it.
    fn is_shared(self) -> bool {
        matches!(self, Self::DebianVirtiofs | Self::Attacked(Medium::Virtiofs))
    }
}

// === impl Container ===

impl Container {
    /// A container that sleeps, with the default capabilities and without hooks.
    #[must_use]
    pub fn new(id: &str, rootfs: Rootfs) -> Self {
        Self {
            id: id.to_owned(),
            rootfs,
            args: ["sleep", "infinity"].map(str::to_owned).into(),
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
            annotations: Vec::new(),
            binds: Vec::new(),
            hooks: Vec::new(),
            capabilities: Capabilities::Default,
        }
    }

    /// What it runs instead of sleeping.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(ToString::to_string).collect();
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a bind mount of a file or directory of the guest.
    #[must_use]
    pub fn bind(mut self, source: &str, destination: &str) -> Self {
        self.binds.push((source.to_owned(), destination.to_owned()));
        self
    }

    /// Adds a hook.
    #[must_use]
    pub fn hook(mut self, point: HookPoint, hook: Hook) -> Self {
        self.hooks.push((point, hook));
        self
    }

    /// Changes its capabilities.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Writes its bundle in the guest.
    ///
    /// # Errors
    /// If the VM lacks the disks, or the root is in use.
    pub fn prepare<'vm>(&self, vm: &'vm Vm) -> Result<Bundle<'vm>> {
        let bundle = Bundle { vm, id: self.id.clone(), rootfs: self.rootfs };
        let script = match self.rootfs {
            Rootfs::Busybox => BUSYBOX.to_owned(),
            Rootfs::DebianExt4 => with_disk(EXT4_DISK, debian::EXT4),
            Rootfs::DebianOverlay => with_disk(OVERLAY_DISK, &debian::overlay()),
            Rootfs::DebianOverlayOnDisk => with_disk(EXT4_DISK, debian::OVERLAY_ON_DISK),
            Rootfs::DebianTmpfs => with_disk(OVERLAY_DISK, &debian::tmpfs()),
            Rootfs::Attacked(medium) if !self.rootfs.is_shared() => medium.script(),
            Rootfs::DebianVirtiofs | Rootfs::Attacked(_) => {
                format!("mount --bind {} $root\n", vm.share()?.root(&self.id)?)
            }
        };
        let prelude = format!("bundle={}\nroot=$bundle/rootfs\nmkdir -p $root\n", bundle.path());
        vm.sh(&(prelude + &script)).with_context(|| format!("make the root of {}", self.id))?;
        let config = serde_json::to_vec_pretty(&spec::config(self)).context("config.json")?;
        vm.write_file(&format!("{}/config.json", bundle.path()), 0o644, config)?;
        Ok(bundle)
    }

    /// Writes its bundle and starts it in the background.
    ///
    /// # Errors
    /// If it doesn't start.
    pub fn run<'vm>(&self, vm: &'vm Vm) -> Result<Running<'vm>> {
        let bundle = self.prepare(vm)?;
        let output = bundle.run()?;
        ensure!(output.success(), "start {}: {}: {}", self.id, output.end, output.stdout.text());
        bundle.running()
    }
}

// === impl Bundle ===

impl<'vm> Bundle<'vm> {
    /// Its directory in the guest.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/run/containers/{}", self.id)
    }

    /// Its root file system, as the guest sees it.
    #[must_use]
    pub fn root(&self) -> String {
        format!("{}/rootfs", self.path())
    }

    /// Runs `runc run --detach` and returns how that went, with what runc and the container have
    /// printed so far as standard output.
    ///
    /// # Errors
    /// If the guest doesn't answer; not if runc fails.
    pub fn run(&self) -> Result<Output> {
        // To a file, since the container keeps the streams: a pipe would break behind it.
        let script = format!(
            "runc run --detach --bundle {path} --pid-file {path}/pid {id} > {path}/log 2>&1",
            path = self.path(),
            id = self.id
        );
        let argv = ["sh", "-c", &script].map(str::to_owned).into();
        let mut output =
            self.vm.run(Exec { argv, timeout_ms: patient_ms(LIMIT), ..Exec::default() })?;
        output.stdout = self.vm.read_file(&format!("{}/log", self.path()))?.into();
        Ok(output)
    }

    /// The container, once [`Bundle::run`] was successful.
    ///
    /// # Errors
    /// If it wasn't.
    pub fn running(self) -> Result<Running<'vm>> {
        let pid = self.vm.read_file(&format!("{}/pid", self.path()))?;
        let pid = String::from_utf8_lossy(&pid).parse().context("pid file of the container")?;
        Ok(Running { bundle: self, pid })
    }
}

// === impl Running ===

impl Running<'_> {
    /// Its bundle.
    #[must_use]
    pub fn bundle(&self) -> &Bundle<'_> {
        &self.bundle
    }

    /// The pid of its first process in the guest.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its cgroup, as a path in the guest.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/sys/fs/cgroup{}", spec::cgroup(&self.bundle.id))
    }

    /// What its first process has printed.
    ///
    /// # Errors
    /// If the guest doesn't answer.
    pub fn log(&self) -> Result<String> {
        let log = self.bundle.vm.read_file(&format!("{}/log", self.bundle.path()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Runs a program in it to its end, for a minute at most.
    ///
    /// # Errors
    /// If the guest doesn't answer; not if the program fails. What runc can't start has status 255
    /// and a message on standard error.
    pub fn exec(&self, argv: &[&str]) -> Result<Output> {
        let argv = argv.iter().map(ToString::to_string).collect();
        self.run(Exec { argv, timeout_ms: patient_ms(LIMIT), ..Exec::default() })
    }

    /// As [`Running::exec`], with an environment, a working directory, input, a time limit.
    ///
    /// # Errors
    /// As [`Running::exec`].
    pub fn run(&self, mut exec: Exec) -> Result<Output> {
        let mut argv = vec!["runc".to_owned(), "exec".to_owned()];
        for (name, value) in exec.env.drain(..) {
            argv.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
        if let Some(cwd) = exec.cwd.take() {
            argv.extend(["--cwd".to_owned(), cwd]);
        }
        argv.push(self.bundle.id.clone());
        argv.append(&mut exec.argv);
        exec.argv = argv;
        self.bundle.vm.run(exec)
    }

    /// Words that run a program in it as a user of any id, for [`Vm::run`] and [`Vm::spawn`].
    #[must_use]
    pub fn argv(&self, user: u32, words: &[&str]) -> Vec<String> {
        let user = format!("{user}:{user}");
        let head = ["runc", "exec", "--user", &user, &self.bundle.id];
        head.iter().chain(words).map(ToString::to_string).collect()
    }

    /// Kills all of its processes, removes it and its root.
    ///
    /// # Errors
    /// If something of it stays.
    pub fn delete(self) -> Result<()> {
        let vm = self.bundle.vm;
        vm.must(&["runc", "delete", "--force", &self.bundle.id])?;
        let output = vm.exec(&["sh", "-euc", REMOVE, "sh", &self.bundle.path()])?;
        ensure!(output.end == End::Exited { status: 0 }, "{}", output.stderr.text());
        if self.bundle.rootfs.is_shared() {
            // What the guest mounted by itself when it entered the root: it keeps the super block.
            vm.must(&["umount", &format!("{SHARED}/{}/rootfs", self.bundle.id)])?;
            vm.share()?.remove_root(&self.bundle.id)?;
            // A name is remembered for a second. In Kata no other container gets it again.
            vm.sh("echo 2 > /proc/sys/vm/drop_caches")?;
        }
        Ok(())
    }
}

/// $1 bundle. An overlay goes before the layers that it was made of.
const REMOVE: &str = r#"
for mounted in rootfs disk lower; do
    if grep -q " $1/$mounted " /proc/mounts; then umount "$1/$mounted"; fi
done
rm -r "$1"
"#;

/// A copy of its own, so that no container shares an inode with another or with the guest.
const BUSYBOX: &str = "
cd $root
mkdir -p bin sbin usr/bin usr/sbin dev etc proc root run sys tmp var/log
chmod 1777 tmp
cp /bin/busybox bin/busybox
chroot . /bin/busybox --install
echo root:x:0:0:root:/root:/bin/sh > etc/passwd
echo root:x:0: > etc/group
";

/// Puts the search for a disk before a script that uses `$device`.
fn with_disk(serial: &str, script: &str) -> String {
    let mut text = String::from("device=\nfor disk in /sys/block/vd*; do\n");
    let _ = writeln!(text, "if [ \"$(cat $disk/serial)\" = {serial} ]; then");
    text + "device=/dev/${disk##*/}\nfi\ndone\n"
        + "if [ -z \"$device\" ]; then echo the VM lacks the Debian disks >&2; exit 1; fi\n"
        + script
}
