// SPDX-License-Identifier: Apache-2.0
//! What the running kernel lacks, found before anything is loaded.
//!
//! Files of /proc, /sys and securityfs flow in, everything that is missing flows out at once, each
//! with the option that brings it: who builds a kernel wants to do so once. Loading would find one
//! thing at a time, as an error number; and a kernel without `bpf` in its active list loads and
//! attaches programs and calls none of them.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::Path,
};

use super::{Cause, Unfit};

const LSM_LIST: &str = "/sys/kernel/security/lsm";
const BTF: &str = "/sys/kernel/btf/vmlinux";
const SYMBOLS: &str = "/proc/kallsyms";
const MEMORY: &str = "/proc/meminfo";

/// A hook's function, to which a program attaches; there with CONFIG_BPF_LSM alone.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/bpf_lsm.c#L27>
const HOOK: &[u8] = b"bpf_lsm_file_open";

/// A hook on names; there with CONFIG_SECURITY_PATH alone.
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/lsm_hook_defs.h#L90>
const PATH_HOOK: &[u8] = b"bpf_lsm_path_rename";

/// How a trampoline is called from a function's entry; there with
/// CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS alone.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/trace/ftrace.c#L5985>
const DIRECT_CALLS: &[u8] = b"register_ftrace_direct";

/// Its first word is the sequence that tells whether a name still holds.
const RENAME_LOCK: &[u8] = b"rename_lock";

/// Memory that must be available before the programs are loaded, in KiB. While they are loaded, types
/// and verifier take 30 MiB in a small guest and 44 in one of a GiB, of which 5 and 8 stay in use
/// (measured on 6.12); the rest is for the first rules. With 33 MiB the guest came to a standstill.
pub const NEEDED_MEMORY: u64 = 48 * 1024;

/// What the kernel says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Names of the active security modules, as the kernel writes them.
    pub active: String,
    /// It describes its types.
    pub btf: bool,
    /// Some of its symbols; none if it tells none.
    pub symbols: Option<Symbols>,
    /// Memory that can be had without swapping, in KiB, if it says so.
    pub available: Option<u64>,
}

/// Which of the symbols that matter there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// [`HOOK`].
    pub hook: bool,
    /// [`PATH_HOOK`].
    pub path_hook: bool,
    /// [`DIRECT_CALLS`].
    pub direct_calls: bool,
    /// Address of [`RENAME_LOCK`], if it is shown.
    pub rename_lock: Option<u64>,
}

/// What is missing for enforcement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Programs could not be fitted to the kernel.
    #[error("the kernel has no BTF: {BTF} is missing")]
    Btf,
    /// There is no hook.
    #[error("the kernel was built without BPF LSM, and has `{0}`")]
    BpfLsm(String),
    /// Nobody calls the hooks.
    #[error("BPF is not an active security module: the kernel has `{0}`")]
    ActiveBpf(String),
    /// Changes of names could not be refused.
    #[error("the kernel has no security hooks on paths")]
    PathHooks,
    /// Hooks are not found by name.
    #[error("the kernel tells no symbols: {SYMBOLS} is missing or empty")]
    Symbols,
    /// Programs cannot be called from where they attach.
    #[error(
        "the kernel cannot call programs from its functions' entries: it has no function tracer"
    )]
    FunctionTracer,
    /// The guest would kill processes to make room.
    #[error(
        "the guest has too little memory: {available} KiB are available of {NEEDED_MEMORY} KiB"
    )]
    Memory {
        /// What there is, in KiB.
        available: u64,
    },
}

/// Reads the facts, and insists on all that enforcement needs.
///
/// # Errors
/// If something is missing; the error has all of it.
pub fn check() -> Result<Symbols, Unfit> {
    let facts = Facts {
        active: fs::read_to_string(LSM_LIST).map_err(Unfit::LsmList)?.trim().to_owned(),
        btf: Path::new(BTF).exists(),
        symbols: File::open(SYMBOLS).and_then(|file| Symbols::read(BufReader::new(file))).ok(),
        available: fs::read_to_string(MEMORY).ok().and_then(|text| available(&text)),
    };
    let missing = facts.missing();
    if missing.is_empty() { Ok(facts.symbols.unwrap_or_default()) } else { Err(missing.into()) }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

// === impl Facts ===

impl Facts {
    /// Everything that is missing, the kernel's build first.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let is_active = self.active.split(',').any(|module| module == "bpf");
        let lacks = |found: fn(Symbols) -> bool| self.symbols.is_some_and(|it| !found(it));
        let no_lsm = if lacks(|it| it.hook) { Missing::BpfLsm } else { Missing::ActiveBpf };
        let short = self.available.filter(|available| *available < NEEDED_MEMORY);
        [
            (!self.btf).then_some(Missing::Btf),
            (!is_active).then(|| no_lsm(self.active.clone())),
            lacks(|it| it.path_hook || !it.hook).then_some(Missing::PathHooks),
            self.symbols.is_none().then_some(Missing::Symbols),
            lacks(|it| it.direct_calls).then_some(Missing::FunctionTracer),
            short.map(|available| Missing::Memory { available }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

// === impl Symbols ===

impl Symbols {
    /// Looks through the kernel's list. Names are shown to everybody, addresses to root.
    fn read(mut list: impl io::BufRead) -> io::Result<Self> {
        let (mut found, mut line, mut any) = (Self::default(), Vec::new(), false);
        while list.read_until(b'\n', &mut line)? > 0 {
            any = true;
            found.note(&line);
            line.clear();
        }
        if any { Ok(found) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Takes a line: address, type, name, and the module if it is not the kernel's own.
    fn note(&mut self, line: &[u8]) {
        let mut words = line.trim_ascii_end().splitn(3, |byte| *byte == b' ');
        let (Some(address), _, Some(name)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        self.hook |= name == HOOK;
        self.path_hook |= name == PATH_HOOK;
        self.direct_calls |= name == DIRECT_CALLS;
        if name == RENAME_LOCK {
            let address = str::from_utf8(address).ok();
            let address = address.and_then(|text| u64::from_str_radix(text, 16).ok());
            self.rename_lock = address.filter(|address| *address != 0);
        }
    }
}

// === impl Missing ===

impl Missing {
    fn remedy(&self) -> &'static str {
        match self {
            Self::Btf => "build the guest kernel with CONFIG_DEBUG_INFO_BTF",
            Self::BpfLsm(_) => {
                "build the guest kernel with CONFIG_BPF_LSM, and `bpf` in CONFIG_LSM"
            }
            Self::ActiveBpf(_) => "boot the guest with `bpf` in lsm= and forbid pods to change it",
            Self::PathHooks => "build the guest kernel with CONFIG_SECURITY_PATH",
            Self::Symbols => "build the guest kernel with CONFIG_KALLSYMS",
            Self::FunctionTracer => {
                "build the guest kernel with CONFIG_FUNCTION_TRACER and CONFIG_DYNAMIC_FTRACE"
            }
            Self::Memory { .. } => "give the guest more memory",
        }
    }
}

impl From<&Missing> for Cause {
    fn from(missing: &Missing) -> Self {
        Self { reason: missing.to_string(), remedy: missing.remedy() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "ffffffff81000000 T bpf_lsm_file_open\n\
                        ffffffff81000010 t bpf_lsm_file_open_old\n\
                        ffffffff81000018 T bpf_lsm_path_rename\n\
                        ffffffff82a03b40 d rename_lock\n\
                        ffffffff81000020 T register_ftrace_direct\n\
                        ffffffffc0000000 t rename_lock\t[of_a_module]\n";

    fn symbols() -> Symbols {
        Symbols::read(LIST.as_bytes()).unwrap()
    }

    fn sound() -> Facts {
        Facts {
            active: "lockdown,capability,bpf".into(),
            btf: true,
            symbols: Some(symbols()),
            available: Some(NEEDED_MEMORY),
        }
    }

    fn causes(facts: &Facts) -> Vec<String> {
        facts.missing().iter().map(|missing| Cause::from(missing).to_string()).collect()
    }

    /// What is missing is named alone, with its remedy.
    fn lacks(facts: &Facts, reason: &str, remedy: &str) {
        let [cause] = &causes(facts)[..] else { panic!("{:?}", facts.missing()) };
        assert!(cause.contains(reason) && cause.contains(remedy), "{cause}");
    }

    #[test]
    fn each_lack_has_a_reason_and_a_remedy_of_its_own() {
        assert_eq!(sound().missing(), []);
        lacks(&Facts { btf: false, ..sound() }, "no BTF", "CONFIG_DEBUG_INFO_BTF");
        lacks(&Facts { symbols: None, ..sound() }, "/proc/kallsyms", "CONFIG_KALLSYMS");
        let short = Facts { available: Some(NEEDED_MEMORY - 1), ..sound() };
        lacks(&short, &format!("{} KiB are available", NEEDED_MEMORY - 1), "more memory");
        let without = Some(Symbols { path_hook: false, ..symbols() });
        lacks(&Facts { symbols: without, ..sound() }, "hooks on paths", "CONFIG_SECURITY_PATH");
        let without = Some(Symbols { direct_calls: false, ..symbols() });
        let untraced = Facts { symbols: without, ..sound() };
        lacks(&untraced, "no function tracer", "CONFIG_FUNCTION_TRACER");
    }

    #[test]
    fn a_module_that_was_left_out_at_boot_is_told_from_one_that_was_never_built() {
        let inactive = Facts { active: "capability,bpfx".into(), ..sound() };
        lacks(&inactive, "the kernel has `capability,bpfx`", "`bpf` in lsm=");
        let symbols = Some(Symbols { hook: false, ..symbols() });
        lacks(&Facts { symbols, ..inactive }, "built without BPF LSM", "CONFIG_BPF_LSM");
    }

    #[test]
    fn everything_that_is_missing_is_named() {
        let bare = Facts {
            active: "capability".into(),
            btf: false,
            symbols: Some(Symbols::default()),
            available: Some(0),
        };
        let text = causes(&bare).join(" ");
        let options = ["CONFIG_DEBUG_INFO_BTF", "CONFIG_BPF_LSM", "CONFIG_FUNCTION_TRACER"];
        assert!(options.iter().all(|option| text.contains(option)), "{text}");
    }

    #[test]
    fn symbols_count_by_their_whole_names_and_a_hidden_address_is_none() {
        let rename_lock = Some(0xffff_ffff_82a0_3b40);
        assert_eq!(
            symbols(),
            Symbols { hook: true, path_hook: true, direct_calls: true, rename_lock }
        );
        let hidden = LIST.replace("ffffffff82a03b40", "0000000000000000");
        assert_eq!(Symbols::read(hidden.as_bytes()).unwrap().rename_lock, None);
        assert!(Symbols::read(&b""[..]).is_err());
    }

    #[test]
    fn available_memory_is_read_in_kib() {
        let text = "MemTotal:         497480 kB\nMemAvailable:     447616 kB\n";
        assert_eq!(available(text), Some(447_616));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
