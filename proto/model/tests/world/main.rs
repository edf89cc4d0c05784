// SPDX-License-Identifier: Apache-2.0
//! The world model: every known way to run a blocked program, under every level and under the
//! measured engines, on every kind of root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken fixture is a failed test")]

mod columns;
mod laws;
mod levels;
mod play;
mod steps;
