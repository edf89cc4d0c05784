// SPDX-License-Identifier: Apache-2.0
//! PID 1 of the test VM: the part that host and guest share.
//!
//! The library is the control channel's vocabulary, used by the rig on the host; the binary
//! `guest-init` answers it. Two more binaries run in the VM: `guest-bench` measures, `guest-storm` makes
//! more denials than a shell can.
//! Nothing of the product lives here.

pub mod protocol;
pub mod samples;
pub mod storm;
