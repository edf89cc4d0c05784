// SPDX-License-Identifier: Apache-2.0
//! Child processes that can't outlive the process that started them.
//!
//! Dropping a [`TiedProcess`] kills it. If this process dies without dropping anything (SIGKILL,
//! abort), the kernel kills the child by the parent-death signal, which `setpriv` sets. That signal
//! is sent when the *thread* that started the child ends, so all children are started by one thread
//! that lives as long as the process: a test may hand its VM to another test.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{self, Child, Command, ExitStatus};
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use anyhow::{Context, Result, ensure};

/// Refuses to start the program if the parent died before its death signal was set.
const EXEC_IF_PARENT_LIVES: &str = r#"[ "$PPID" = "$0" ] && exec "$@""#;

type Launch = (Command, Sender<io::Result<Child>>);

static LAUNCHER: LazyLock<Mutex<Sender<Launch>>> = LazyLock::new(|| {
    let (sender, launches) = mpsc::channel::<Launch>();
    thread::spawn(move || {
        for (mut command, reply) in launches {
            // The one who asked waits for the answer.
            let _ = reply.send(command.spawn());
        }
    });
    Mutex::new(sender)
});

/// A process that is stopped for as long as this lives.
#[derive(Debug)]
pub struct Pause(u32);

// === impl Pause ===

impl Pause {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        signal(pid, "STOP")?;
        Ok(Self(pid))
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        // Fails if it was killed meanwhile.
        let _ = signal(self.0, "CONT");
    }
}

fn signal(pid: u32, signal: &str) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
    ensure!(status.context("run kill")?.success(), "process {pid} is gone");
    Ok(())
}

/// A command that will run `program` tied to this process. Add arguments and streams, then
/// [`TiedProcess::start`] it.
#[must_use]
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "sh", "-c", EXEC_IF_PARENT_LIVES]);
    command.arg(process::id().to_string()).arg(program);
    command
}

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct TiedProcess {
    child: Mutex<Child>,
}

// === impl TiedProcess ===

impl TiedProcess {
    /// Starts a command made by [`tied`].
    ///
    /// # Errors
    /// If the program can't be started.
    pub fn start(command: Command) -> Result<Self> {
        let name = format!("{command:?}");
        let (reply, answer) = mpsc::channel();
        LAUNCHER
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send((command, reply))
            .context("the launching thread is gone")?;
        let child = answer.recv().context("the launching thread is gone")?;
        let child = child.with_context(|| format!("start {name}"))?;
        Ok(Self { child: Mutex::new(child) })
    }

    /// The child, to take its streams from.
    pub fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its exit status, if it has ended.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        // An error means that the status was collected, hence that the child has ended.
        self.child().try_wait().unwrap_or(Some(ExitStatus::from_raw(0)))
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&self) {
        let mut child = self.child();
        // Both fail only for a child that is gone already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for TiedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
