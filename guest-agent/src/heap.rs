// SPDX-License-Identifier: Apache-2.0
//! The agent's heap: what only the start needs goes back to the kernel.
//!
//! Nothing flows in or out. The allocator keeps freed memory for later; what parsing the kernel's
//! types took is several times what the agent ever needs again, and the guest pays for it.

use nix::libc;

/// Gives freed memory back. Costs a walk through the heap: for the end of a large piece of work.
pub fn trim() {
    #[expect(unsafe_code, reason = "no library of ours has malloc_trim(3)")]
    // SAFETY: it takes a number, and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
