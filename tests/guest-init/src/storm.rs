// SPDX-License-Identifier: Apache-2.0
//! What `guest-storm` prints: how a loop of opens went.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The outcome of a loop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// Opens by errno; 0 for those that succeeded.
    pub outcomes: BTreeMap<i32, u64>,
    /// Nanoseconds of all of them.
    pub nanoseconds: u64,
}
