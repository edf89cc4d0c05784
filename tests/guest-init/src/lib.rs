// SPDX-License-Identifier: Apache-2.0
//! PID 1 of the test VM: the part that host and guest share.
//!
//! The library is the control channel's vocabulary, used by the rig on the host; the binary
//! `guest-init` answers it. A second binary, `guest-bench`, is what benchmarks run in the VM.
//! Nothing of the product lives here.

pub mod protocol;
pub mod samples;
