// SPDX-License-Identifier: Apache-2.0
//! Runs a program to its end: feeds its input, gathers its output, keeps its time limit.
//!
//! The program's own end counts, not the end of its output: whatever it leaves running (a detached
//! container keeps its pipes open) may hold the streams for ever. So everything that is in the pipes
//! at the program's end is taken, and nothing after it.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_init::protocol::{Bytes, End, Exec, Output};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::children;

/// How long a killed program may take to be gone.
const GRACE: Duration = Duration::from_secs(10);

const DEFAULT_ENV: [(&str, &str); 3] =
    [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("TERM", "dumb")];

/// A program to be, in a process group of its own, with init's small environment.
pub(crate) fn command(argv: &[String], env: &[(String, String)]) -> Result<Command> {
    ensure!(!argv.is_empty(), "no program given");
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env_clear().envs(DEFAULT_ENV).process_group(0).current_dir("/");
    command.envs(env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Runs a program to its end.
pub(crate) fn run(exec: Exec) -> Result<Output> {
    let mut command = command(&exec.argv, &exec.env)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(cwd) = &exec.cwd {
        command.current_dir(cwd);
    }
    let (child, ended) =
        children::start(&mut command).with_context(|| format!("start {}", exec.argv[0]))?;
    let pid = children::pid_of(&child);
    let deadline = Instant::now() + Duration::from_millis(exec.timeout_ms);
    let mut streams = Streams::take(child, ended, exec.stdin)?;
    let in_time = streams.pump(deadline)?;
    if !in_time {
        // It may have ended by itself just now.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let end = children::wait(pid, GRACE).context("the program is not in the table")?;
    streams.drain()?;
    Ok(Output {
        end: if in_time { end } else { End::TimedOut },
        stdout: streams.stdout.gathered.into(),
        stderr: streams.stderr.gathered.into(),
    })
}

/// The pipes of one program.
struct Streams {
    stdin: Option<(File, Bytes, usize)>,
    stdout: Gather,
    stderr: Gather,
    /// Reports end of file when the program has ended.
    ended: PipeReader,
}

/// One output stream.
struct Gather {
    /// Until end of file.
    pipe: Option<File>,
    gathered: Vec<u8>,
}

// === impl Streams ===

impl Streams {
    fn take(mut child: Child, ended: PipeReader, input: Bytes) -> Result<Self> {
        const PIPED: &str = "all three streams are pipes";
        let stdin = non_blocking(child.stdin.take().expect(PIPED).into())?;
        Ok(Self {
            stdin: (!input.0.is_empty()).then_some((stdin, input, 0)),
            stdout: Gather::new(child.stdout.take().expect(PIPED).into())?,
            stderr: Gather::new(child.stderr.take().expect(PIPED).into())?,
            ended,
        })
    }

    /// Moves bytes until the program has ended; false if the deadline came first.
    fn pump(&mut self, deadline: Instant) -> Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            if self.poll_once(left)? {
                return Ok(true);
            }
            self.feed();
            self.drain()?;
        }
    }

    /// Waits until something can move; true if the program has ended.
    fn poll_once(&self, left: Duration) -> Result<bool> {
        let mut fds = vec![PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        let outputs = [&self.stdout, &self.stderr].into_iter().filter_map(|out| out.pipe.as_ref());
        fds.extend(outputs.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        let input = self.stdin.as_ref().map(|(pipe, ..)| pipe);
        fds.extend(input.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        // Rounded up, or the last millisecond would be spun away.
        let wait =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => Ok(fds[0].any().unwrap_or(false)),
            Err(error) => Err(error).context("poll"),
        }
    }

    /// Writes as much input as fits; a program that closes its input gets no more.
    fn feed(&mut self) {
        let Some((pipe, input, done)) = &mut self.stdin else { return };
        match pipe.write(&input.0[*done..]) {
            Ok(written) => *done += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => *done = input.0.len(),
        }
        if *done == input.0.len() {
            self.stdin = None;
        }
    }

    /// Takes all output that is there.
    fn drain(&mut self) -> Result<()> {
        self.stdout.drain()?;
        self.stderr.drain()
    }
}

// === impl Gather ===

impl Gather {
    fn new(pipe: OwnedFd) -> Result<Self> {
        Ok(Self { pipe: Some(non_blocking(pipe)?), gathered: Vec::new() })
    }

    fn drain(&mut self) -> Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        match pipe.read_to_end(&mut self.gathered) {
            Ok(_) => self.pipe = None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("read the program's output"),
        }
        Ok(())
    }
}

fn non_blocking(pipe: OwnedFd) -> Result<File> {
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl")?;
    Ok(File::from(pipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(script: &str) -> Exec {
        let argv = ["sh", "-c", script].map(str::to_owned).into();
        Exec { argv, timeout_ms: 20_000, ..Exec::default() }
    }

    #[test]
    fn more_than_a_pipe_holds_passes_in_both_directions() {
        let input: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
        let output = run(Exec { stdin: input.clone().into(), ..exec("tee /dev/stderr") }).unwrap();
        assert!(output.success());
        assert!(output.stdout.0 == input && output.stderr.0 == input);
    }

    #[test]
    fn input_that_nobody_reads_does_not_block() {
        let output = run(Exec { stdin: vec![0; 1 << 20].into(), ..exec("exec true") }).unwrap();
        assert!(output.success());
    }

    #[test]
    fn output_after_the_end_is_not_waited_for() {
        let output = run(exec("sleep 30 & echo out; exit 4")).unwrap();
        assert_eq!((output.status(), output.stdout.text()), (Some(4), "out\n".to_owned()));
    }

    #[test]
    fn the_time_limit_ends_the_whole_group() {
        let started = Instant::now();
        let slow = Exec { timeout_ms: 100, ..exec("echo out; sleep 1000 & sleep 1000") };
        let output = run(slow).unwrap();
        assert_eq!((output.end, output.stdout.text()), (End::TimedOut, "out\n".to_owned()));
        assert!(started.elapsed() < GRACE);
    }

    #[test]
    fn a_program_that_does_not_exist_is_named_in_the_error() {
        let missing = Exec { argv: vec!["no-such-program".into()], ..Exec::default() };
        assert!(format!("{:#}", run(missing).unwrap_err()).contains("start no-such-program"));
        assert!(run(Exec::default()).is_err(), "no program at all");
    }
}
