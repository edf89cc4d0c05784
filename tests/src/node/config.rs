// SPDX-License-Identifier: Apache-2.0
//! What a node is made of. In: choices. Out: files, disks and a share of its guest; nothing is
//! started here.

use std::path::PathBuf;

use anyhow::Result;

use super::AGENT;
use crate::rootfs::{self, Image, Medium};
use crate::vm::{Disk, GuestFile, KernelChoice, static_program};

/// A node to be.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Names the log directory.
    pub name: String,
    /// What the guest boots.
    pub kernel: KernelChoice,
    /// Guest memory.
    pub memory_mib: u32,
    /// Whether the guest has the disks of Debian containers.
    pub debian: bool,
    /// Whether the guest has the share of Debian containers on virtio-fs.
    pub virtiofs: bool,
    /// What Debian containers have in them.
    pub image: Image,
    /// The roots to attack that the guest has what it needs for.
    pub attacked: Option<Medium>,
    /// Added to the guest's files.
    pub files: Vec<GuestFile>,
    /// Added to the kernel's command line.
    pub cmdline: Vec<String>,
    /// Added to the agent's command line.
    pub agent_args: Vec<String>,
    /// Added to the relay's command line.
    pub relay_args: Vec<String>,
}

// === impl NodeConfig ===

impl NodeConfig {
    /// Busybox containers on whichever kernel is there.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kernel: KernelChoice::Auto,
            memory_mib: 1024,
            debian: false,
            virtiofs: false,
            image: Image::Minimal,
            attacked: None,
            files: Vec::new(),
            cmdline: Vec::new(),
            agent_args: Vec::new(),
            relay_args: Vec::new(),
        }
    }

    /// Debian containers too.
    #[must_use]
    pub fn debian(mut self) -> Self {
        self.debian = true;
        self
    }

    /// Containers on virtio-fs too.
    #[must_use]
    pub fn virtiofs(mut self) -> Self {
        self.virtiofs = true;
        self
    }

    /// Containers to attack, on that medium.
    #[must_use]
    pub fn attacked(mut self, medium: Medium) -> Self {
        self.attacked = Some(medium);
        self
    }

    pub(super) fn files(&self) -> Result<Vec<GuestFile>> {
        let agent = static_program("guest-agent", "kadapter-agent")?;
        let mut files = vec![GuestFile::program(AGENT, agent)];
        files.extend(self.attacked.map_or(Ok(Vec::new()), Medium::files)?);
        files.extend_from_slice(&self.files);
        Ok(files)
    }

    pub(super) fn disks(&self) -> Result<Vec<Disk>> {
        let mut disks = self.attacked.map_or(Ok(Vec::new()), Medium::disks)?;
        if self.debian {
            disks.extend(rootfs::disks(self.image)?);
        }
        Ok(disks)
    }

    pub(super) fn share(&self) -> Result<Option<PathBuf>> {
        match self.attacked.map_or(Ok(None), Medium::share)? {
            None if self.virtiofs => rootfs::share(self.image).map(Some),
            share => Ok(share),
        }
    }
}
