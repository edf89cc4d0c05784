// SPDX-License-Identifier: Apache-2.0
//! What `guest-bench` prints: times of batches of calls, by the guest's monotonic clock.

use serde::{Deserialize, Serialize};

/// The samples of one operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Samples {
    /// Nanoseconds that asking the clock adds to each batch.
    pub clock: u64,
    /// Calls in each batch.
    pub batch: u32,
    /// Nanoseconds of each batch, in the order in which they were taken.
    pub batches: Vec<u64>,
}

// === impl Samples ===

impl Samples {
    /// Nanoseconds of one call, a value for each batch.
    pub fn calls(&self) -> impl Iterator<Item = f64> {
        let one = |batch: &u64| (batch.saturating_sub(self.clock)) as f64 / f64::from(self.batch);
        self.batches.iter().map(one)
    }
}
