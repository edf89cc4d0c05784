// SPDX-License-Identifier: Apache-2.0
//! Programs that few rule sets need: loaded, attached and pinned when the first set needs them, on
//! the pinned maps of the others.
//!
//! Flags of a set flow in. What is attached stays until the guest ends, and asks each set whether
//! it is meant; a guest without such sets does not pay for them at each use of a privilege. Nothing
//! is kept here but what is pinned, so that an agent which took over loads them too.

use std::path::{Path, PathBuf};

use guest_bpf::abi;

use super::{LoadError, attach, failed, kernel_types, link_of, open_object, program};
use crate::heap;

/// Hooks, each with the option of a set that needs its program.
const RARE: [(&str, u32); 5] = [
    ("inode_setattr", abi::SET_GUARD_OBJECTS),
    ("capable", abi::SET_NO_NEW_MOUNTS),
    ("userns_create", abi::SET_NO_USER_NAMESPACES),
    ("ptrace_traceme", abi::SET_NO_POKE),
    ("inode_free_security", abi::SET_TAINT),
];

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
            .filter(|(hook, option)| flags & option != 0 && !link_of(&self.pins, hook).exists())
            .map(|(hook, _)| *hook)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let loaded = self.load(&missing);
        heap::trim();
        loaded.inspect(|()| tracing::info!(hooks = ?missing, "rare programs attached"))
    }

    fn load(&self, hooks: &[&'static str]) -> Result<(), LoadError> {
        let btf = kernel_types()?;
        let mut ebpf = open_object(&self.pins, &btf)?;
        for hook in hooks {
            let program = program(&mut ebpf, hook)?;
            program.load(hook, &btf).map_err(|error| failed("loading", hook)(error.into()))?;
            attach(program, hook, &link_of(&self.pins, hook))?;
        }
        Ok(())
    }
}
