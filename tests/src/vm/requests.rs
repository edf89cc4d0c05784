// SPDX-License-Identifier: Apache-2.0
//! What a running VM can be asked for: programs, signals, files. Each method is one request to the
//! guest's PID 1; none keeps anything on the host.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest_init::protocol::{Bytes, End, Exec, Output, Reply, Request, Spawn};

use super::Vm;
use crate::patience::patient_ms;

/// What [`Vm::exec`] allows a program, on a machine that does nothing else.
const EXEC_LIMIT: Duration = Duration::from_secs(60);

impl Vm {
    /// Runs a program in the guest to its end, for a minute at most.
    ///
    /// # Errors
    /// If it can't be started or the guest doesn't answer; not if the program fails.
    pub fn exec(&self, argv: &[&str]) -> Result<Output> {
        let argv = argv.iter().map(ToString::to_string).collect();
        self.run(Exec { argv, timeout_ms: patient_ms(EXEC_LIMIT), ..Exec::default() })
    }

    /// Runs a program that has to succeed, and returns its standard output.
    ///
    /// # Errors
    /// Also if the program fails; the error then has what it printed.
    pub fn must(&self, argv: &[&str]) -> Result<String> {
        let output = self.exec(argv)?;
        ensure!(
            output.success(),
            "{argv:?}: {}: {}{}",
            output.end,
            output.stdout.text(),
            output.stderr.text()
        );
        Ok(output.stdout.text())
    }

    /// Runs a shell script that has to succeed, and returns its standard output.
    ///
    /// # Errors
    /// As [`Vm::must`].
    pub fn sh(&self, script: &str) -> Result<String> {
        self.must(&["sh", "-euc", script])
    }

    /// Runs a program in the guest to its end.
    ///
    /// # Errors
    /// If it can't be started or the guest doesn't answer; not if the program fails.
    pub fn run(&self, exec: Exec) -> Result<Output> {
        let limit = Duration::from_millis(exec.timeout_ms);
        match self.call(&Request::Exec(exec), limit)? {
            Reply::Output(output) => Ok(output),
            other => bail!("the guest answers {other:?}"),
        }
    }

    /// Starts a program that keeps running, and returns its pid.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn spawn(&self, spawn: Spawn) -> Result<i32> {
        match self.call(&Request::Spawn(spawn), Duration::ZERO)? {
            Reply::Spawned { pid } => Ok(pid),
            other => bail!("the guest answers {other:?}"),
        }
    }

    /// Waits for the end of a spawned program.
    ///
    /// # Errors
    /// If no such program was spawned.
    pub fn wait(&self, pid: i32, limit: Duration) -> Result<End> {
        let timeout_ms = u64::try_from(limit.as_millis()).context("time limit")?;
        match self.call(&Request::Wait { pid, timeout_ms }, limit)? {
            Reply::Ended { end } => Ok(end),
            other => bail!("the guest answers {other:?}"),
        }
    }

    /// Sends a signal to a process of the guest, or to a group if `pid` is negative.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn kill(&self, pid: i32, signal: i32) -> Result<()> {
        self.call(&Request::Kill { pid, signal }, Duration::ZERO).map(drop)
    }

    /// Creates or replaces a file in the guest.
    ///
    /// # Errors
    /// If the guest can't write it.
    pub fn write_file(&self, path: &str, mode: u32, content: impl Into<Bytes>) -> Result<()> {
        let request = Request::WriteFile { path: path.to_owned(), mode, content: content.into() };
        self.call(&request, Duration::ZERO).map(drop)
    }

    /// Returns a file's content.
    ///
    /// # Errors
    /// If the guest can't read it.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        match self.call(&Request::ReadFile { path: path.to_owned() }, Duration::ZERO)? {
            Reply::Content { content } => Ok(content.0),
            other => bail!("the guest answers {other:?}"),
        }
    }

    fn call(&self, request: &Request, limit: Duration) -> Result<Reply> {
        match self.at_control(|guest| guest.call(request, limit)) {
            Ok(Reply::Refused { reason }) => bail!("the guest refuses: {reason}"),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.explain(error)),
        }
    }
}
