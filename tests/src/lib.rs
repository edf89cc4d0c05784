// SPDX-License-Identifier: Apache-2.0
//! The rigs that the suites run on: slow artefacts, the VM, containers in it, a whole node.

pub mod apt;
pub mod bench;
pub mod bypass;
pub mod cache;
pub mod demo;
pub mod kernel;
pub mod node;
pub mod patience;
pub mod prerequisites;
pub mod reference;
pub mod rootfs;
pub mod step;
pub mod suites;
pub mod tools;
pub mod usecases;
pub mod vm;
pub mod workloads;
