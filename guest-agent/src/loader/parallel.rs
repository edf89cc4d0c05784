// SPDX-License-Identifier: Apache-2.0
//! Programs are given to the kernel side by side: it verifies each on the processor of who asks, and
//! that is most of what the start of an agent takes.
//!
//! An object and names of hooks flow in. Attaches nothing; if one program does not load, the rest
//! of the queue stays where it is.

use std::{
    panic,
    sync::Mutex,
    thread::{self, available_parallelism},
    time::Instant,
};

use aya::{Btf, Ebpf, programs::Lsm};

use super::{LoadError, failed};
use crate::maps::MapsError;

/// Verification takes a megabyte or two of the guest's memory at a time.
const MOST_THREADS: usize = 4;

/// A program of the object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Which it is attached to.
    pub(super) hook: &'static str,
}

// === impl Program ===

impl Program {
    /// The one that is called as its hook.
    pub(super) const fn of_hook(hook: &'static str) -> Self {
        Self { name: hook, hook }
    }
}

/// Loads these programs, in no order.
pub(super) fn load(ebpf: &mut Ebpf, programs: &[Program], btf: &Btf) -> Result<(), LoadError> {
    let found = find(ebpf, programs)?;
    let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let queue = Mutex::new(found.into_iter());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let work = || -> Result<(), LoadError> {
        while let Some((Program { name, hook }, program)) = next() {
            let started = Instant::now();
            program.load(hook, btf).map_err(|error| failed("loading", hook)(error.into()))?;
            let verified = program.info().ok().and_then(|info| info.verified_instruction_count());
            let ms = started.elapsed().as_millis();
            tracing::debug!(name, verified, ms, "a program was loaded");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(cause) => panic::resume_unwind(cause),
        });
        // All are waited for before any error is looked at.
        let others: Vec<_> = others.collect();
        others.into_iter().fold(own, Result::and)
    })
}

fn find<'e>(
    ebpf: &'e mut Ebpf,
    programs: &[Program],
) -> Result<Vec<(Program, &'e mut Lsm)>, LoadError> {
    let wanted = ebpf.programs_mut().filter_map(|(name, found)| {
        programs.iter().find(|program| program.name == name).map(|program| (*program, found))
    });
    let found = wanted.map(|(program, found)| {
        let found = found.try_into();
        found
            .map(|found| (program, found))
            .map_err(|error| failed("finding", program.hook)(Box::from(error)))
    });
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    let is_found = |name| found.iter().any(|(program, _)| program.name == name);
    match programs.iter().find(|program| !is_found(program.name)) {
        Some(missing) => Err(MapsError::Missing(missing.name).into()),
        None => Ok(found),
    }
}
