// SPDX-License-Identifier: Apache-2.0
//! The rig tested on itself: what other suites take for granted about VMs and containers.

mod containers;
mod failures;
mod machine;
mod virtiofs;
