// SPDX-License-Identifier: Apache-2.0
//! Looks at what a container has on a thread that may hang, so that the one who asks does not.
//!
//! Work flows in, its result flows out, or that there is none in time. A file system that a process
//! of the container serves (FUSE) answers when that process likes; the registry's thread serves the
//! containers of a whole pod. A thread that hangs is left behind and ends when it comes back; of one
//! container only so many are.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{Init, InspectError};

/// For one look: a disk answers in milliseconds, a host that swaps in tens of them, a guest under
/// emulation on a busy machine stands still for some hundred.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);

/// Looks at one container that have not come back. More than one at a time means that one hangs; each
/// holds a thread with a stack of 2 MiB, of which some pages are used.
const MAX_HANGING: usize = 4;

/// Looks at one container that are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(Arc<AtomicUsize>);

/// One of them, for as long as it takes.
struct Look(Looks);

/// Does the work within [`DEADLINE`].
pub(super) fn ask<T: Send + 'static>(
    of: &Init,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InspectError> {
    let hangs = || InspectError::Hangs(of.pid());
    let look = Look::begin(of.looks()).ok_or_else(hangs)?;
    let (done, result) = mpsc::channel();
    let spawned = thread::Builder::new().name("look".into()).spawn(move || {
        // Fails if the one who asked has gone on.
        let _ = done.send(work());
        drop(look);
    });
    spawned.map_err(of.failed("starting a thread to look at the files"))?;
    result.recv_timeout(DEADLINE).map_err(|_| hangs())
}

// === impl Look ===

impl Look {
    fn begin(looks: &Looks) -> Option<Self> {
        let look = Self(looks.clone());
        (looks.0.fetch_add(1, Ordering::Relaxed) < MAX_HANGING).then_some(look)
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn own() -> Init {
        Init::open(std::process::id()).unwrap()
    }

    #[test]
    fn a_look_that_hangs_is_left_behind_and_the_next_one_is_made() {
        let init = own();
        let (never, wait) = mpsc::channel::<()>();
        let started = Instant::now();
        let looked = ask(&init, move || wait.recv());
        assert!(matches!(looked, Err(InspectError::Hangs(_))), "{looked:?}");
        assert!(started.elapsed() >= DEADLINE && started.elapsed() < DEADLINE * 4);
        assert_eq!(ask(&init, || 7).unwrap(), 7);
        drop(never);
    }

    #[test]
    fn looks_that_hang_do_not_take_all_threads_nor_the_time_of_the_next() {
        let init = own();
        let hanging: Vec<_> = (0..MAX_HANGING).map(|_| Look::begin(init.looks())).collect();
        let started = Instant::now();
        assert!(matches!(ask(&init, || 7), Err(InspectError::Hangs(_))));
        assert!(started.elapsed() < DEADLINE);
        assert_eq!(ask(&own(), || 7).unwrap(), 7, "of another container");
        drop(hanging);
        assert_eq!(ask(&init, || 7).unwrap(), 7);
    }
}
