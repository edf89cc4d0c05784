// SPDX-License-Identifier: Apache-2.0
//! The rigs that the suites run on: slow artefacts, the VM, containers in it.

pub mod apt;
pub mod cache;
pub mod kernel;
pub mod rootfs;
pub mod step;
pub mod tools;
pub mod vm;
