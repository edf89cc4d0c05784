// SPDX-License-Identifier: Apache-2.0
//! Descriptors of the kernel that a task can wait for.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers a copy of a descriptor; the copy is ready whenever the descriptor is.
///
/// # Errors
/// If there is no room, or the kernel cannot watch it.
pub fn of(descriptor: &impl AsFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let copy = descriptor.as_fd().try_clone_to_owned()?;
    #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
    // SAFETY: an `OwnedFd` is open, is the only owner of its descriptor, and always returns it.
    let registered = unsafe { AsyncFd::register_with_interest(copy, interest) };
    Ok(registered?)
}
