// SPDX-License-Identifier: Apache-2.0
//! The whole, as a newcomer meets it, and on every kernel.

mod kernels;

use anyhow::Result;
use e2e::{
    demo::{self, Options},
    vm::{KernelChoice, Line},
};

#[test]
fn every_step_of_the_demo_holds() -> Result<()> {
    demo::run(Options { kernel: KernelChoice::Own, keep: false })
}

#[test]
fn every_step_of_the_demo_holds_on_debians_kernel() -> Result<()> {
    demo::run(Options { kernel: KernelChoice::Debian(Line::V6_12), keep: false })
}
