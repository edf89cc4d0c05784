// SPDX-License-Identifier: Apache-2.0
//! Fuzz targets of everything that reads what another side wrote.
//!
//! Entropy flows in from an engine ([`run`]), each of the [`targets`] makes an input of it and
//! states what must hold for any input. Nothing here knows how a parser works inside.
#![forbid(unsafe_code)]

#[cfg(not(fuzzing_libfuzzer))]
mod engine;
mod entropy;
mod grammar;
#[cfg(fuzzing_libfuzzer)]
mod guided;
pub mod targets;

#[cfg(not(fuzzing_libfuzzer))]
pub use engine::run;
#[cfg(fuzzing_libfuzzer)]
pub use guided::run;
