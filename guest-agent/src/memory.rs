// SPDX-License-Identifier: Apache-2.0
//! What becomes of this process when the guest's memory is short.

use std::{fs, io};

/// Has the kernel kill any other process first.
///
/// # Errors
/// If the kernel refuses: it takes CAP_SYS_RESOURCE.
pub fn spare_from_oom() -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", "-1000")
}
