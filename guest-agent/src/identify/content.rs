// SPDX-License-Identifier: Apache-2.0
//! Hashes of files, and how many bytes one search may read for them.

use std::{
    collections::HashMap,
    io::{self, Read as _},
    os::fd::OwnedFd,
};

use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

use super::beneath::{Facts, Inode, Stamp, reopen};

/// Bytes that one search reads: 300 MB take a second without instructions for SHA, and hardly any
/// image has as much in files of equal size.
pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Hashes that are kept of a container; 100 bytes each.
const MAX_KEPT: usize = 4096;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;

/// Hash of a content.
pub(super) type Sha = [u8; 32];

/// Hashes by inode, as long as its stamp says that it is the same content.
#[derive(Debug, Default)]
pub(super) struct Hashes(HashMap<Inode, (Stamp, Sha)>);

/// Why the content of a file is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the search may read {MAX_BYTES} bytes in all")]
    Budget,
    #[error("it is being written")]
    Changing,
}

// === impl HashError ===

impl HashError {
    /// Whether somebody has a lease on the file.
    pub(super) fn is_lease(&self) -> bool {
        matches!(self, Self::Read(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether another search may read the file.
    pub(super) fn is_passing(&self) -> bool {
        self.is_lease() || matches!(self, Self::Changing)
    }
}

/// Bytes that a search may still read.
pub(super) struct Budget(u64);

// === impl Budget ===

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_BYTES)
    }
}

// === impl Hashes ===

impl Hashes {
    /// Hash of a regular file's content.
    pub(super) fn of(
        &mut self,
        handle: &OwnedFd,
        facts: &Facts,
        budget: &mut Budget,
    ) -> Result<Sha, HashError> {
        match self.0.get(&facts.inode) {
            Some((stamp, sha)) if *stamp == facts.stamp => return Ok(*sha),
            _ => {}
        }
        budget.0 = budget.0.checked_sub(facts.size).ok_or(HashError::Budget)?;
        let sha = read(handle, facts.size)?;
        let now = clock_gettime(ClockId::Realtime);
        if facts.stamp.is_settled((now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default())) {
            if self.0.len() >= MAX_KEPT {
                self.0.clear();
            }
            self.0.insert(facts.inode, (facts.stamp, sha));
        }
        Ok(sha)
    }
}

fn read(handle: &OwnedFd, size: u64) -> Result<Sha, HashError> {
    let mut file = reopen(handle)?.take(size.saturating_add(1));
    let (mut hasher, mut block, mut got) = (Sha256::new(), vec![0; BLOCK], 0);
    loop {
        match file.read(&mut block)? {
            0 => break,
            count => {
                hasher.update(block.get(..count).unwrap_or_default());
                got += count as u64;
            }
        }
    }
    if got == size { Ok(hasher.finalize().into()) } else { Err(HashError::Changing) }
}
