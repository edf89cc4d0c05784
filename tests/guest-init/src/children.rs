// SPDX-License-Identifier: Apache-2.0
//! Children of PID 1: the only place that collects exit statuses.
//!
//! Programs started here are *ours*: their status goes to whoever waits. Everything else that ends
//! is an orphan that was handed to PID 1; it is collected and forgotten. A thread collects; it looks
//! first without collecting, then takes the table's lock, so a child that has ended before it
//! was entered into the table can't be taken for an orphan, nor be taken from the standard library,
//! which collects a child whose exec failed.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter};
use std::process::{Child, Command};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use guest_init::protocol::End;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// Ours, by pid.
static CHILDREN: LazyLock<Children> = LazyLock::new(|| {
    thread::spawn(|| CHILDREN.collect());
    Children { table: Mutex::default(), changed: Condvar::new() }
});

struct Children {
    table: Mutex<HashMap<i32, State>>,
    /// A child was started or has ended.
    changed: Condvar,
}

enum State {
    /// The pipe closes when the child has ended; nothing is ever written to it.
    Running(#[expect(dead_code, reason = "closed by being dropped")] PipeWriter),
    /// Until somebody asks.
    Ended(End),
}

/// Starts a program that is ours. The pipe returned reports end of file when it has ended.
pub(crate) fn start(command: &mut Command) -> io::Result<(Child, PipeReader)> {
    let (ended, running) = io::pipe()?;
    let mut table = CHILDREN.lock();
    let child = command.spawn()?;
    table.insert(pid_of(&child), State::Running(running));
    CHILDREN.changed.notify_all();
    Ok((child, ended))
}

/// Waits for the end of a program that is ours, and forgets it then.
/// `None` if there is no such program.
pub(crate) fn wait(pid: i32, limit: Duration) -> Option<End> {
    let deadline = Instant::now() + limit;
    let mut table = CHILDREN.lock();
    loop {
        match table.get(&pid)? {
            State::Ended(end) => {
                let end = *end;
                table.remove(&pid);
                return Some(end);
            }
            State::Running(_) => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(End::TimedOut);
        }
        (table, _) =
            CHILDREN.changed.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner);
    }
}

/// A child's pid as the kernel counts them.
pub(crate) fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("pids are below 2^22")
}

// === impl Children ===

impl Children {
    fn lock(&self) -> MutexGuard<'_, HashMap<i32, State>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self) -> ! {
        loop {
            let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            match waitid(Id::All, look) {
                Ok(status) => {
                    if let Some(pid) = status.pid() {
                        self.collect_one(pid);
                    }
                }
                Err(Errno::ECHILD) => self.await_child(),
                Err(_) => {}
            }
        }
    }

    fn collect_one(&self, pid: Pid) {
        let mut table = self.lock();
        let end = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, status)) => End::Exited { status },
            Ok(WaitStatus::Signaled(_, signal, _)) => End::Signaled { signal: signal as i32 },
            _ => return,
        };
        if let Some(state) = table.get_mut(&pid.as_raw()) {
            *state = State::Ended(end);
            self.changed.notify_all();
        }
    }

    /// Without a child there is no descendant either: nothing to collect until the next start.
    fn await_child(&self) {
        let running = |table: &mut HashMap<i32, State>| {
            table.values().any(|state| matches!(state, State::Running(_)))
        };
        drop(
            self.changed
                .wait_while(self.lock(), |table| !running(table))
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}
