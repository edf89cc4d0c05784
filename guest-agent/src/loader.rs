// SPDX-License-Identifier: Apache-2.0
//! Loads, attaches and pins the programs.
//!
//! The object of `guest-bpf` and the running kernel's BTF flow in; the tables ([`Maps`]) and the
//! event ring flow out. Links and maps are pinned, so that enforcement outlives the agent; the next
//! agent of the same build takes them over as they are. It never loads beside pins under which a
//! container runs (`pins.rs`): what they enforce must not be doubted.

mod capacity;
mod hooks;
mod parallel;
mod pins;
mod rare;
mod types;

use std::{
    error::Error,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Instant,
};

use aya::{
    Btf, Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, Map, MapData, MapError, PerCpuArray, RingBuf},
    programs::{Lsm, links::FdLink},
};
use aya_obj::btf::BtfKind;
use guest_bpf::{abi, kfunc, prototype::PROTOTYPES};
use rustix::io::Errno;

pub(crate) use capacity::of as entries_of;
pub use hooks::HookError;
pub use rare::Rare;

use crate::{
    containers::mountinfo,
    maps::{Maps, MapsError},
};
use parallel::Program;
use pins::{Pins, link_of, object_number, remove, survey};

/// LSM hooks with a program of the same name, in the order of attachment: labels must be
/// inherited before anything is labelled, and nothing is until all are attached.
pub const HOOKS: [&str; 24] = [
    "task_alloc",
    "bprm_check_security",
    "bprm_committed_creds",
    "file_open",
    "mmap_file",
    "file_mprotect",
    "inode_link",
    "inode_copy_up",
    "path_rename",
    "path_link",
    "path_unlink",
    "path_rmdir",
    "path_mknod",
    "path_mkdir",
    "path_symlink",
    "path_truncate",
    "path_chmod",
    "path_chown",
    "sb_mount",
    "sb_kern_mount",
    "move_mount",
    "ptrace_access_check",
    "socket_create",
    "bpf",
];

/// Maps that are pinned; all of the object.
const MAPS: [&str; 23] = [
    "tasks",
    "slots",
    "sets",
    "nodes",
    "known_names",
    "known_inodes",
    "decisions",
    "subjects",
    "inodes",
    "tokens",
    "taints",
    "quotas",
    "usage",
    "labels",
    "records",
    "journal",
    "probes",
    "cgroups",
    "settings",
    "counters",
    "undecided",
    "events",
    "sightings",
];

/// The kernel's own types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Why nothing is enforced.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The programs that are pinned are not of this build.
    #[error(
        "`{0}` holds the programs of an agent of another version, which go on enforcing for the \
         containers that run"
    )]
    OtherVersion(PathBuf),
    /// Another program has removed pins of this build.
    #[error(
        "`{pins}` lacks `{}`, and containers run under the rest, which goes on enforcing",
        missing.join("`, `")
    )]
    Incomplete {
        /// The directory.
        pins: PathBuf,
        /// Names of links and maps.
        missing: Vec<String>,
    },
    /// The pin directory cannot be made.
    #[error("`{path}` cannot be prepared")]
    Pins {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel tells nothing about its types.
    #[error("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")]
    Btf(#[source] aya::BtfError),
    /// The kernel does not say how it calls its hooks.
    #[error("reading the kernel's types")]
    Types(#[source] io::Error),
    /// A program would take one argument of its hook for another.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// A function that the programs call is not there for them.
    #[error("the kernel offers no `{}` to programs (Linux 6.2 or newer)", kfunc::RDONLY_CAST)]
    Kfunc(#[source] aya::BtfError),
    /// The object does not load.
    #[error("the BPF object does not load")]
    Object(#[source] aya::EbpfError),
    /// One program does not load, attach or stay.
    #[error("{operation} the program of hook `{hook}`")]
    Program {
        /// What was tried.
        operation: &'static str,
        /// The hook.
        hook: &'static str,
        /// The kernel's answer.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The tables cannot be set up.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// PID 1 cannot be inspected.
    #[error("reading {what} of PID 1")]
    Init {
        /// What was read.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

// === impl LoadError ===

impl LoadError {
    /// The kernel's error number, if one is at the bottom of it.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        let mut errno = None;
        while let Some(error) = cause {
            errno = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error).or(errno);
            cause = error.source();
        }
        errno
    }
}

/// What enforces now, and what it reports through.
pub struct Loaded {
    /// The tables.
    pub maps: Maps,
    /// Where the programs report.
    pub ring: RingBuf<MapData>,
    /// The kernel's counters once more, for who reads them beside the tables' owner.
    pub counters: PerCpuArray<MapData, u64>,
    /// Number of the last event that was taken from the ring, by whichever agent.
    pub journal: Array<MapData, u64>,
    /// Verdicts on names are kept while they hold.
    pub names_kept: bool,
}

/// Whether an earlier agent's programs are in force: then [`take_over`] is what to call.
///
/// # Errors
/// If others are, of another build or not all of this one's, under which containers run.
pub fn are_in_force(pins: &Path) -> Result<bool, LoadError> {
    Ok(survey(pins)? == Pins::InForce)
}

/// Loads, attaches and pins every program. `rename_lock` is its address, without which every verdict
/// on a name is found anew.
///
/// # Errors
/// If any part fails, or programs are in force already. What was pinned by this call is taken back.
pub fn load(pins: &Path, rename_lock: Option<u64>) -> Result<Loaded, LoadError> {
    match survey(pins)? {
        Pins::None => {}
        Pins::Remains => remove(pins)?,
        Pins::InForce => return Err(pins_failed(pins)(io::ErrorKind::AlreadyExists.into())),
    }
    let settings = init_of_guest(rename_lock)?;
    fs::DirBuilder::new().mode(0o700).recursive(true).create(pins).map_err(pins_failed(pins))?;
    load_into(pins, settings).inspect_err(|_| {
        // Fails only if the file system is gone, and the pins with it.
        let _ = fs::remove_dir_all(pins);
    })
}

fn load_into(pins: &Path, settings: abi::Settings) -> Result<Loaded, LoadError> {
    let started = Instant::now();
    // Also of the rare programs: a rule set that needs one comes when containers run already.
    hooks::compare(&fs::read(TYPES).map_err(LoadError::Types)?, PROTOTYPES)?;
    let btf = kernel_types()?;
    let types_ms = started.elapsed().as_millis();
    let mut ebpf = open_object(pins, &btf)?;
    let object_ms = started.elapsed().as_millis();
    let names_kept = settings.rename_sequence != 0;
    let maps = Maps::fresh(&mut ebpf, settings, pins)?;
    let ring = open(ebpf.take_map("events"), "events", RingBuf::try_from)?;
    let journal = open(ebpf.take_map("journal"), "journal", Array::try_from)?;
    parallel::load(&mut ebpf, &HOOKS.map(Program::of_hook), &btf)?;
    let loaded = Instant::now();
    for hook in HOOKS {
        attach(program(&mut ebpf, hook)?, hook, &link_of(pins, hook))?;
    }
    let load_ms = (loaded - started).as_millis();
    tracing::info!(
        types_ms,
        object_ms,
        load_ms,
        attach_ms = loaded.elapsed().as_millis(),
        "programs attached"
    );
    let counters = open(pinned(pins, "counters")?, "counters", PerCpuArray::try_from)?;
    Ok(Loaded { maps, ring, counters, journal, names_kept })
}

fn kernel_types() -> Result<Btf, LoadError> {
    Btf::from_sys_fs().map_err(LoadError::Btf)
}

/// The object with its maps: those that are pinned already, new ones otherwise.
fn open_object(pins: &Path, btf: &Btf) -> Result<Ebpf, LoadError> {
    let mut loader = EbpfLoader::new();
    // The verifier's whole trace takes minutes to write under emulation; its last words suffice.
    loader.btf(Some(btf)).allow_unsupported_maps().verifier_log_level(VerifierLogLevel::STATS);
    for map in MAPS {
        loader.map_pin_path(map, pins.join(map));
    }
    for (map, entries) in capacity::of_guest() {
        loader.map_max_entries(map, entries);
    }
    let cast = btf.id_by_type_name_kind(kfunc::RDONLY_CAST, BtfKind::Func);
    let object = kfunc::bind(cast.map_err(LoadError::Kfunc)?);
    loader.load(&object).map_err(LoadError::Object)
}

fn program<'a>(ebpf: &'a mut Ebpf, hook: &'static str) -> Result<&'a mut Lsm, LoadError> {
    let program = ebpf.program_mut(hook).ok_or(MapsError::Missing(hook))?;
    program.try_into().map_err(|error| failed("finding", hook)(Box::from(error)))
}

fn attach(program: &mut Lsm, hook: &'static str, pin: &Path) -> Result<(), LoadError> {
    let link = program.attach().map_err(|error| failed("attaching", hook)(error.into()))?;
    let link = program.take_link(link).map_err(|error| failed("keeping", hook)(error.into()))?;
    let link: FdLink = link.into();
    link.pin(pin).map_err(|error| failed("pinning", hook)(error.into()))?;
    Ok(())
}

fn failed(
    operation: &'static str,
    hook: &'static str,
) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> LoadError {
    move |source| LoadError::Program { operation, hook, source }
}

/// Opens what an earlier agent has pinned; it goes on as it is.
///
/// # Errors
/// If the programs are of another build, or a part cannot be opened.
pub fn take_over(pins: &Path) -> Result<Loaded, LoadError> {
    let settings = Maps::settings_of(pins)?;
    if settings.object != object_number() {
        return Err(LoadError::OtherVersion(pins.to_owned()));
    }
    Ok(Loaded {
        maps: Maps::take_over(pins)?,
        ring: open(pinned(pins, "events")?, "events", RingBuf::try_from)?,
        counters: open(pinned(pins, "counters")?, "counters", PerCpuArray::try_from)?,
        journal: open(pinned(pins, "journal")?, "journal", Array::try_from)?,
        names_kept: settings.rename_sequence != 0,
    })
}

fn pinned(pins: &Path, name: &'static str) -> Result<Option<Map>, LoadError> {
    let failed = |source| MapsError::Map { operation: "opening a pinned map", source };
    let data = MapData::from_pin(pins.join(name)).map_err(failed)?;
    Ok(Some(Map::from_map_data(data).map_err(failed)?))
}

fn open<T>(
    map: Option<Map>,
    name: &'static str,
    convert: impl FnOnce(Map) -> Result<T, MapError>,
) -> Result<T, LoadError> {
    let map = map.ok_or(MapsError::Missing(name))?;
    let failed = |source| MapsError::Map { operation: "opening a map", source };
    Ok(convert(map).map_err(failed)?)
}

fn pins_failed(pins: &Path) -> impl FnOnce(io::Error) -> LoadError {
    let path = pins.to_owned();
    move |source| LoadError::Pins { path, source }
}

/// How the guest's own tasks are told from a container's. What cannot be read must not become a
/// number: the guard would take every task of the guest for a container's, or none.
fn init_of_guest(rename_lock: Option<u64>) -> Result<abi::Settings, LoadError> {
    let failed = |what| move |source| LoadError::Init { what, source };
    let namespace = fs::metadata("/proc/1/ns/mnt").map_err(failed("the mount namespace"))?;
    let root = fs::metadata("/proc/1/root/").map_err(failed("the root"))?;
    let mounts = fs::read("/proc/1/mountinfo").map_err(failed("the mounts"))?;
    let namespace = namespace_number(namespace.ino()).map_err(failed("the mount namespace"))?;
    Ok(abi::Settings {
        hash_key: [0; 2],
        rename_sequence: rename_lock.unwrap_or_default(),
        object: object_number(),
        init_root_ino: root.ino(),
        init_root_dev: device_of_root(&mounts).map_err(failed("the device of the root"))?,
        init_mnt_ns: namespace,
        max_taints: entries_of("taints"),
        max_inodes: entries_of("inodes"),
    })
}

/// The kernel keeps it in 32 bits, and gives none the number 0.
fn namespace_number(inode: u64) -> io::Result<u32> {
    let number = u32::try_from(inode).ok().filter(|number| *number != 0);
    number.ok_or_else(|| io::Error::other(format!("its number is {inode}")))
}

/// s_dev of what is mounted at `/`, which stat(2) does not tell on every file system.
fn device_of_root(mounts: &[u8]) -> io::Result<u32> {
    let lines = mountinfo::parse(mounts).map_err(io::Error::other)?;
    let root = lines.iter().rfind(|line| line.point == "/");
    root.map(|line| line.dev).ok_or_else(|| io::Error::other("nothing is mounted at `/`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_last_mount_at_slash() {
        let mounts = "1 1 0:2 / / rw - rootfs rootfs rw\n22 1 0:21 / /proc rw - proc proc rw\n\
                      30 1 254:3 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(device_of_root(mounts.as_bytes()).unwrap(), 254 << 20 | 3);
    }

    #[test]
    fn facts_of_pid_1_that_cannot_be_told_do_not_become_numbers() {
        let mounts = "22 1 0:21 / /proc rw - proc proc rw\n";
        assert!(device_of_root(mounts.as_bytes()).unwrap_err().to_string().contains("`/`"));
        assert!(device_of_root(b"30 1 x:3 / / rw - ext4 /dev/vda rw\n").is_err());
        assert_eq!(namespace_number(4_026_531_841).unwrap(), 4_026_531_841);
        for inode in [0, 1 << 32] {
            assert!(namespace_number(inode).unwrap_err().to_string().contains("its number"));
        }
    }
}
