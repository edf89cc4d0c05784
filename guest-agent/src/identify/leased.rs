// SPDX-License-Identifier: Apache-2.0
//! Files that are leased: waiting for the leases, and keeping the files from being leased again.
//!
//! Files of which an open said `WouldBlock` flow in, and flow out open where the wait was not in vain.
//! The holder of a lease (fcntl, `F_SETLEASE`) is asked for it by any open, and has as long as
//! `fs.lease-break-time` says, then the kernel takes it. All were asked before, so that they are waited
//! for together. While a file is open for reading, and while an open waits, no lease is given that
//! would keep a reader out.
//! <https://github.com/torvalds/linux/blob/v6.12/fs/locks.c#L1739-L1771>

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    beneath::reopen_patiently,
    names::{Access, Finder, Named, Names, Outcome},
};

/// For all of them: a second for leases, and half of one for those who give one up and take another
/// at once. What is still leased then is looked for later.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Opens each file, whoever has a lease on it.
struct Opens(Vec<Named>);

impl Finder for Opens {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn find(&self, at: usize, announce: &dyn Fn(&Named)) -> Outcome {
        let named = self.0[at].clone();
        announce(&named);
        let access = match reopen_patiently(&named.file) {
            Ok(file) => Access::Kept(Arc::new(file)),
            Err(_) => Access::Leased,
        };
        Ok(Named { access, ..named })
    }
}

/// Waits for the leases on these files; yields them in the same order.
pub(super) fn wait(files: Vec<Named>, hanging: &Arc<()>, goes_on: impl Fn() -> bool) -> Vec<Named> {
    if files.is_empty() {
        return files;
    }
    // A container that may write to sysctls may have set it back.
    let _ = shorten();
    let end = Instant::now() + PATIENCE;
    let names = Names::new(Opens(files.clone()), hanging).with_patience(PATIENCE);
    let mut opened = names.find(|| goes_on() && Instant::now() < end).into_iter();
    let freed = files.into_iter().map(|file| match opened.next() {
        Some(Ok(Named { access: Access::Kept(open), .. })) => {
            Named { access: Access::Kept(open), ..file }
        }
        _ => file,
    });
    freed.collect()
}

/// Has every lease of the guest end a second after its holder was asked for it, instead of 45.
///
/// # Errors
/// If the kernel refuses.
pub fn shorten() -> io::Result<()> {
    fs::write("/proc/sys/fs/lease-break-time", "1")
}
