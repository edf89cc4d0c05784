// SPDX-License-Identifier: Apache-2.0
//! Runs a target under libFuzzer: inputs that reach new code are kept and changed further.
//!
//! Only in a build that is instrumented for it (`cfg(fuzzing_libfuzzer)`, see
//! `cargo xtask test soak`), and as the only test of its process: libFuzzer ends the process.

/// Runs a target, for as long as `BOLERO_LIBFUZZER_ARGS` says.
pub fn run(_: &str, target: fn(&[u8])) {
    bolero::check!().for_each(|entropy| target(entropy));
}
