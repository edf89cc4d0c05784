// SPDX-License-Identifier: Apache-2.0
//! A guest that dies and one that boots in its place: the relay dials the same address.
//!
//! The address is a link to the socket of whichever machine is the node's now.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result};

use super::{Node, NodeConfig, boot, start_agent};
use crate::vm::Vm;

/// The sandbox's address, in the node's directory.
pub(super) const ADDRESS: &str = "sandbox.sock";

/// Lets the address lead to this machine.
pub(super) fn lead_to(vm: &Vm, directory: &Path) -> Result<()> {
    let (fresh, address) = (directory.join("next.sock"), directory.join(ADDRESS));
    symlink(vm.hvsock(), &fresh).with_context(|| format!("link {}", fresh.display()))?;
    fs::rename(&fresh, &address).with_context(|| format!("rename to {}", address.display()))
}

impl Node {
    /// Kills the machine, as a crash of it would, and boots another one behind the same address,
    /// with an agent of its own. The relay goes on.
    ///
    /// # Errors
    /// If it does not start.
    pub fn reboot(&mut self, config: &NodeConfig) -> Result<()> {
        let vm = boot(config, &self.pin)?;
        start_agent(&vm, &config.agent_args)?;
        lead_to(&vm, self.directory.path())?;
        self.vm = vm;
        Ok(())
    }
}
