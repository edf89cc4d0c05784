// SPDX-License-Identifier: Apache-2.0
//! Programs that few rule sets need: loaded, attached and pinned when the first set needs them, on
//! the pinned maps of the others.
//!
//! Flags of a set flow in. What is attached stays until the guest ends, and asks each set whether
//! it is meant; a guest without such sets does not pay for them at each use of a privilege. Nothing
//! is kept here but what is pinned, so that an agent which took over loads them too.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use aya_obj::btf::BtfKind;
use guest_bpf::abi;

use super::{
    LoadError, attach, kernel_types, link_of, open_object,
    parallel::{self, Program},
    program,
};
use crate::heap;

/// Programs, each with what a set has that needs it.
const RARE: [(Program, u32); 13] = [
    (Program::of_hook("inode_setattr"), abi::SET_GUARD_OBJECTS | abi::SET_FILE),
    (Program::of_hook("inode_setxattr"), abi::SET_FILE),
    (Program::of_hook("inode_removexattr"), abi::SET_FILE),
    (Program::of_hook("inode_set_acl"), abi::SET_FILE),
    (Program::of_hook("inode_remove_acl"), abi::SET_FILE),
    (Program::of_hook("unix_stream_connect"), abi::SET_FILE),
    (Program::of_hook("unix_may_send"), abi::SET_FILE),
    (Program::of_hook(OPTIONAL), abi::SET_IDENTITY),
    (Program::of_hook("capable"), abi::SET_NO_NEW_MOUNTS),
    (Program::of_hook("userns_create"), abi::SET_NO_USER_NAMESPACES),
    (Program::of_hook("ptrace_traceme"), abi::SET_NO_POKE),
    (Program::of_hook("inode_free_security"), abi::SET_TAINT),
    (Program { name: "exec_arguments", hook: "bprm_committed_creds" }, abi::SET_ARGUMENTS),
];

/// A hook that came into being in a minor release: a kernel without it has its programs do without. The
/// README says what of.
pub(super) const OPTIONAL: &str = "mmap_backing_file";

/// Whether this kernel was seen to lack it.
static LACKS_OPTIONAL: AtomicBool = AtomicBool::new(false);

/// The programs, wherever they are pinned.
#[derive(Clone, Debug)]
pub struct Rare {
    pins: PathBuf,
}

// === impl Rare ===

impl Rare {
    /// Those of an agent that pins here.
    #[must_use]
    pub fn at(pins: &Path) -> Self {
        Self { pins: pins.to_owned() }
    }

    /// Sees to it that all programs are attached that a set with these flags needs.
    ///
    /// # Errors
    /// If one cannot be loaded, attached or pinned: the set must not come into force.
    pub fn ensure(&self, flags: u32) -> Result<(), LoadError> {
        let missing: Vec<_> = RARE
            .iter()
            .filter(|(program, need)| {
                flags & need != 0
                    && !is_lacking(program)
                    && !link_of(&self.pins, program.name).exists()
            })
            .map(|(program, _)| *program)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let loaded = self.load(&missing);
        heap::trim();
        let names: Vec<_> = missing.iter().map(|program| program.name).collect();
        loaded.inspect(|()| tracing::info!(programs = ?names, "rare programs attached"))
    }

    fn load(&self, programs: &[Program]) -> Result<(), LoadError> {
        let btf = kernel_types()?;
        let function = format!("bpf_lsm_{OPTIONAL}");
        if btf.id_by_type_name_kind(&function, BtfKind::Func).is_err() {
            LACKS_OPTIONAL.store(true, Ordering::Relaxed);
        }
        let programs: Vec<_> = programs.iter().filter(|it| !is_lacking(it)).copied().collect();
        if programs.is_empty() {
            return Ok(());
        }
        let mut ebpf = open_object(&self.pins, &btf)?;
        parallel::load(&mut ebpf, &programs, &btf)?;
        for Program { name, hook } in programs {
            attach(program(&mut ebpf, name)?, hook, &link_of(&self.pins, name))?;
        }
        Ok(())
    }
}

fn is_lacking(program: &Program) -> bool {
    program.hook == OPTIONAL && LACKS_OPTIONAL.load(Ordering::Relaxed)
}
