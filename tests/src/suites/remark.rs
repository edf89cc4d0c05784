// SPDX-License-Identifier: Apache-2.0
//! What a test that passes tells the runner nevertheless, on a line of its own.
//!
//! The harness holds back what passing tests print, so these lines bypass it.

use std::panic::Location;
use std::thread;

use crate::step::say;

pub(super) const MEASURED: &str = "measured: ";
pub(super) const SKIPPED: &str = "skipped: ";

/// A figure that people should see in each run.
pub fn measured(figure: &str) {
    say(&format!("{MEASURED}{figure}"));
}

/// To be said by a test right before it returns, because a feature that it probed is missing. The
/// runner then counts it as skipped instead of passed.
#[track_caller]
pub fn skipped(reason: &str) {
    let caller = Location::caller();
    let place = format!("{}:{}", caller.file(), caller.line());
    // The harness names a thread after its test, unless it runs all of them on its own.
    let test = thread::current().name().filter(|name| *name != "main").map(ToOwned::to_owned);
    say(&format!("{SKIPPED}{}: {reason}", test.unwrap_or(place)));
}
