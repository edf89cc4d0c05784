// SPDX-License-Identifier: Apache-2.0
//! How long to wait on a machine that has other work too.
//!
//! In: a limit, derived from what is waited for as it is on a machine that does nothing else. Out: the
//! limit for this machine as it is now: longer by how many tasks each processor has to run. A wait ends
//! when what it waits for is there, so a longer limit costs nothing but where a test fails.

use std::fs;
use std::num::NonZero;
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

/// Beyond this a machine is not slow but out of order.
const MOST: f64 = 10.0;

/// The limit for a machine with this one's load.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    let processors = available_parallelism().map_or(1, NonZero::get);
    limit.mul_f64(factor(load().unwrap_or(1.0), processors))
}

/// As [`patient`], in milliseconds, as requests to a guest take it.
#[must_use]
pub fn patient_ms(limit: Duration) -> u64 {
    u64::try_from(patient(limit).as_millis()).unwrap_or(u64::MAX)
}

/// Asks until there is an answer or the deadline passes.
pub(crate) fn poll<T>(deadline: Instant, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    const PAUSE: Duration = Duration::from_millis(20);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// Tasks that ran or waited to, on average of the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn factor(load: f64, processors: usize) -> f64 {
    (load / processors as f64).clamp(1.0, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_grows_with_what_each_processor_has_to_do_and_never_shrinks() {
        for (load, processors, expected) in
            [(0.1, 2, 1.0), (2.0, 2, 1.0), (8.0, 2, 4.0), (8.0, 16, 1.0), (500.0, 2, MOST)]
        {
            assert_eq!(factor(load, processors), expected, "{load} on {processors}");
        }
        assert!(patient(Duration::from_secs(1)) >= Duration::from_secs(1));
    }
}
