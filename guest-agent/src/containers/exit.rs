// SPDX-License-Identifier: Apache-2.0
//! When a container is over: its first process ended, then its last.
//!
//! Descriptors of the kernel flow in, the moment flows out; nothing is polled by the clock.

use std::{fs::File, io};

use tokio::io::Interest;

use super::{Cgroup, Init};
use crate::readiness;

/// Returns once the process has ended.
///
/// # Errors
/// If the kernel cannot watch it.
pub async fn ended(init: &Init) -> io::Result<()> {
    let pidfd = readiness::of(init, Interest::READABLE)?;
    pidfd.readable().await?.retain_ready();
    Ok(())
}

/// Returns once no process is left in the cgroup.
///
/// # Errors
/// If the kernel cannot watch it.
pub async fn emptied(cgroup: &Cgroup) -> io::Result<()> {
    let events = match File::open(cgroup.directory.join("cgroup.events")) {
        Ok(events) => events,
        // Only an empty cgroup can be removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let events = readiness::of(&events, Interest::PRIORITY)?;
    while cgroup.is_populated()? {
        events.ready(Interest::PRIORITY).await?.clear_ready();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let init = Init::open(child.id()).unwrap();
        drop(child.stdin.take());
        ended(&init).await.unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_removed_cgroup_is_empty() {
        emptied(&Cgroup { id: 1, directory: "/nonexistent".into() }).await.unwrap();
    }
}
