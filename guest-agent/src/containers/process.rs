// SPDX-License-Identifier: Apache-2.0
//! A container's process, held so that its pid cannot come to mean another.
//!
//! A pidfd is opened when the pid is first seen. Whatever is read from /proc/PID afterwards counts
//! only if the pidfd still has its process then: a living process keeps its pid.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::aside::Looks;
use crate::lifecycle;

/// Why a container's process cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It ended, or never was.
    #[error("process {0} is gone")]
    Gone(u32),
    /// The kernel refused.
    #[error("{operation} of process {pid}: {source}")]
    Read {
        /// What was tried.
        operation: &'static str,
        /// The process.
        pid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The runtime speaks of another process than the kernel.
    #[error("process {pid} has {what} {found}, the runtime says {claimed}")]
    Claim {
        /// The process.
        pid: u32,
        /// What differs.
        what: &'static str,
        /// As the kernel says.
        found: String,
        /// As the runtime says.
        claimed: String,
    },
    /// The root directory of the container cannot be opened.
    #[error("the container's root `{path}` cannot be opened: {source}")]
    Root {
        /// As the process sees it.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Its files are served by what does not answer.
    #[error("the files of process {0} do not answer: a process of the container serves them")]
    Hangs(u32),
    /// The process changed its root after it was registered.
    #[error("process {0} has another root than at its registration")]
    RootChanged(u32),
    /// The table of mounts makes no sense.
    #[error("the mounts of process {pid}: {source}")]
    Mounts {
        /// The process.
        pid: u32,
        /// What is wrong.
        source: super::mountinfo::InvalidMountInfo,
    },
}

/// The first process of a container, or one that joins it.
#[derive(Clone, Debug)]
pub struct Init {
    pid: u32,
    pidfd: Arc<OwnedFd>,
    looks: Looks,
}

// === impl Init ===

impl Init {
    /// Takes hold of a process.
    ///
    /// # Errors
    /// If there is none of this pid.
    pub fn open(pid: u32) -> Result<Self, InspectError> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(InspectError::Gone(pid))?;
        match pidfd_open(raw, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Ok(Self { pid, pidfd: Arc::new(pidfd), looks: Looks::default() }),
            Err(rustix::io::Errno::SRCH) => Err(InspectError::Gone(pid)),
            Err(errno) => {
                Err(InspectError::Read { operation: "opening a pidfd", pid, source: errno.into() })
            }
        }
    }

    /// Whether both were taken hold of at once, by one [`open`](Self::open).
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pidfd, &other.pidfd)
    }

    /// When it was started, in clock ticks since boot: with the pid it names one process of a boot.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn started(&self) -> Result<u64, InspectError> {
        let operation = "reading the start";
        let stat = fs::read(self.proc("stat")).map_err(self.failed(operation))?;
        // The name is whatever bytes the process chose.
        let stat = String::from_utf8_lossy(&stat);
        self.check_alive()?;
        // The name, which may hold anything, ends with the last parenthesis; the start is the
        // twentieth field behind it (proc_pid_stat(5)).
        let start = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
        start.and_then(|start| start.parse().ok()).ok_or_else(|| InspectError::Read {
            operation,
            pid: self.pid,
            source: io::ErrorKind::InvalidData.into(),
        })
    }

    /// Takes hold of a process and compares what the runtime says of it.
    ///
    /// # Errors
    /// If there is none, or it is another one than the runtime means.
    pub fn verify(claimed: &lifecycle::Process) -> Result<Self, InspectError> {
        let init = Self::open(claimed.pid)?;
        for (what, name, claim) in
            [("pid namespace", "pid", claimed.pid_ns), ("mount namespace", "mnt", claimed.mnt_ns)]
        {
            let found = init.namespace(name)?;
            if claim.is_some_and(|claim| claim != found) {
                let claimed = claim.unwrap_or_default().to_string();
                return Err(init.differs(what, found.to_string(), claimed));
            }
        }
        if let Some(claim) = &claimed.cgroup {
            let found = init.cgroup_path()?;
            if found != *claim {
                return Err(init.differs("cgroup", found, claim.clone()));
            }
        }
        init.check_alive()?;
        Ok(init)
    }

    /// Its pid in the agent's pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the pid still means this process.
    ///
    /// # Errors
    /// If it ended.
    pub fn check_alive(&self) -> Result<(), InspectError> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(0) => Ok(()),
            Ok(_) => Err(InspectError::Gone(self.pid)),
            Err(errno) => Err(self.failed("polling the pidfd")(errno.into())),
        }
    }

    /// Inode of one of its namespaces.
    ///
    /// # Errors
    /// If /proc does not tell.
    pub fn namespace(&self, name: &str) -> Result<u64, InspectError> {
        let metadata = fs::metadata(self.proc(&format!("ns/{name}")));
        Ok(metadata.map_err(self.failed("reading a namespace"))?.ino())
    }

    /// Path of its cgroup below the cgroup2 mount.
    ///
    /// # Errors
    /// If /proc does not tell.
    pub fn cgroup_path(&self) -> Result<String, InspectError> {
        let text = fs::read_to_string(self.proc("cgroup"));
        let text = text.map_err(self.failed("reading the cgroup"))?;
        Ok(super::cgroup::unified_path(&text).unwrap_or("/").to_owned())
    }

    /// Looks at its files that are under way, of all copies of this.
    pub(super) fn looks(&self) -> &Looks {
        &self.looks
    }

    /// A file of its /proc directory.
    #[must_use]
    pub fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid).into()
    }

    pub(super) fn failed(
        &self,
        operation: &'static str,
    ) -> impl FnOnce(io::Error) -> InspectError + use<> {
        let pid = self.pid;
        move |source| match source.kind() {
            io::ErrorKind::NotFound => InspectError::Gone(pid),
            _ => InspectError::Read { operation, pid, source },
        }
    }

    fn differs(&self, what: &'static str, found: String, claimed: String) -> InspectError {
        InspectError::Claim { pid: self.pid, what, found, claimed }
    }
}

impl AsFd for Init {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn claims(pid: u32) -> lifecycle::Process {
        lifecycle::Process { pid, pid_ns: None, mnt_ns: None, cgroup: None }
    }

    #[test]
    fn a_process_that_ended_is_gone_even_if_its_pid_comes_back() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let init = Init::open(child.id()).unwrap();
        init.check_alive().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(init.check_alive(), Err(InspectError::Gone(_))));
        assert!(matches!(Init::open(child.id()), Err(InspectError::Gone(_))));
    }

    #[test]
    fn claims_are_compared_with_the_kernel() {
        let own = Init::open(std::process::id()).unwrap();
        let mnt_ns = own.namespace("mnt").unwrap();
        let honest = lifecycle::Process { mnt_ns: Some(mnt_ns), ..claims(own.pid()) };
        assert!(Init::verify(&honest).is_ok());
        let lie = lifecycle::Process { mnt_ns: Some(mnt_ns + 1), ..claims(own.pid()) };
        assert!(Init::verify(&lie).unwrap_err().to_string().contains("mount namespace"));
        let lie = lifecycle::Process { cgroup: Some("/elsewhere".into()), ..claims(own.pid()) };
        assert!(Init::verify(&lie).unwrap_err().to_string().contains("cgroup"));
    }
}
