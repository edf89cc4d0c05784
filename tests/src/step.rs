// SPDX-License-Identifier: Apache-2.0
//! What a person sees of work that takes long.
//!
//! In: a title, the work, and the child processes that it runs. Out, on standard error: on a
//! terminal a line that shows elapsed time and the child's last line, elsewhere plain lines at
//! the start, each minute and at the end. What children print goes to a log file; it is deleted
//! if the step succeeds, else the error names it, with the last lines of the child that failed.
//! Never: prints to standard output, which belongs to results, or uses colours.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;

use self::console::Line;

mod console;

/// How much of a failed child's output the error repeats.
const TAIL_LINES: usize = 20;

/// A running step, handed to the work it stands for.
#[derive(Debug)]
pub struct Step {
    title: String,
    line: Line,
    log: OnceCell<Log>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
}

/// Does `work`, and shows that it goes on. Steps may nest and may run on several threads.
pub fn step<T>(title: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let step = Step { title: title.to_owned(), line: Line::start(title), log: OnceCell::new() };
    let result = work(&step);
    let outcome = if result.is_ok() { "done" } else { "failed" };
    step.line.finish(&format!("{title}: {outcome} in {}", seconds(started)));
    match result {
        Ok(value) => {
            if let Some(log) = step.log.get() {
                // A log that stays behind costs a few kilobytes, not the result.
                let _ = fs::remove_file(&log.path);
            }
            Ok(value)
        }
        Err(error) => Err(error.context(match step.log.get() {
            Some(log) => format!("{title} (log in {})", log.path.display()),
            None => title.to_owned(),
        })),
    }
}

/// From now on prints plain lines, on a terminal too. To be called before the first step.
pub fn be_plain() {
    console::be_plain();
}

/// A line for the person at the console, outside any step.
pub fn say(text: &str) {
    console::print(text);
}

// === impl Step ===

impl Step {
    /// Shows what the step is busy with.
    pub fn note(&self, text: &str) {
        self.line.note(text);
    }

    /// Runs a child to its end with its output in the step's log. Fails unless it exits with 0.
    pub fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut tail = VecDeque::with_capacity(TAIL_LINES);
        let status = self.follow(command, |line| {
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
        })?;
        if !status.success() {
            let tail = tail.into_iter().collect::<String>();
            bail!("{program} failed ({status}):\n{tail}");
        }
        Ok(())
    }

    /// Runs a child to its end with its output in the step's log, and returns that output. Fails
    /// only if it cannot be run: what its exit status means is the caller's business.
    pub fn capture(&self, command: &mut Command) -> Result<(ExitStatus, String)> {
        let mut output = String::new();
        let status = self.follow(command, |line| output.push_str(line))?;
        Ok((status, output))
    }

    fn follow(&self, command: &mut Command, keep: impl FnMut(&str)) -> Result<ExitStatus> {
        let log = self.log()?;
        writeln!(&log.file, "+ {command:?}").context("writing the step's log")?;
        let status = self.copy(command, &log.file, keep);
        status.with_context(|| format!("running {}", command.get_program().to_string_lossy()))
    }

    /// Copies what the child prints to the log, the console and the caller until it closes both
    /// of its streams.
    fn copy(
        &self,
        command: &mut Command,
        mut log: &File,
        mut keep: impl FnMut(&str),
    ) -> io::Result<ExitStatus> {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn();
        // The command keeps the write ends, and the reader would wait for them for ever.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child?;

        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            log.write_all(&line)?;
            let text = String::from_utf8_lossy(&line);
            self.note(text.trim());
            keep(&text);
            line.clear();
        }
        child.wait()
    }

    fn log(&self) -> Result<&Log> {
        if let Some(log) = self.log.get() {
            return Ok(log);
        }
        let log = Log::create(&Cache::user()?.state("log")?, &self.title)?;
        Ok(self.log.get_or_init(|| log))
    }
}

// === impl Log ===

impl Log {
    fn create(dir: &Path, title: &str) -> Result<Self> {
        static LOGS: AtomicU32 = AtomicU32::new(0);
        let slug = title.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let number = LOGS.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{slug}.{}.{number}.log", std::process::id()));
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path, file })
    }
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use anyhow::bail;

    use super::step;

    #[test]
    fn a_failed_child_is_reported_with_its_log_and_last_lines() {
        let error = step("counting", |step| {
            step.run(Command::new("sh").args(["-c", "seq 1 100; echo broken >&2; exit 3"]))
        });
        let text = format!("{:#}", error.unwrap_err());
        let (path, rest) = split_log(&text, "counting");
        assert!(rest.starts_with("sh failed (exit status: 3):\n"), "{text}");
        assert!(rest.ends_with("\n99\n100\nbroken\n"), "{text}");
        assert_eq!(rest.lines().count(), 21, "{text}");

        let log = fs::read_to_string(path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(log.contains("seq 1 100"), "the log names the command: {log}");
        assert_eq!(log.lines().count(), 102);
    }

    #[test]
    fn captured_output_is_whole_whatever_the_status() {
        let captured = step("capturing", |step| {
            step.capture(Command::new("sh").args(["-c", "seq 1 100; echo end >&2; exit 3"]))
        });
        let (status, output) = captured.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(output.lines().count(), 101);
        assert!(output.ends_with("\n100\nend\n"), "{output}");
    }

    #[test]
    fn a_step_hands_through_what_the_work_returns() {
        let value = step("working", |step| {
            step.run(&mut Command::new("true"))?;
            Ok(7)
        });
        assert_eq!(value.unwrap(), 7);
        let error = step("working", |_| -> anyhow::Result<()> { bail!("no disk") });
        assert_eq!(format!("{:#}", error.unwrap_err()), "working: no disk");
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = step("working", |step| step.run(&mut Command::new("no-such-program")));
        let text = format!("{:#}", error.unwrap_err());
        let (path, rest) = split_log(&text, "working");
        fs::remove_file(path).unwrap();
        assert!(rest.starts_with("running no-such-program: "), "{text}");
    }

    /// The log that an error names, and what follows.
    fn split_log<'a>(text: &'a str, title: &str) -> (&'a str, &'a str) {
        let log = text.strip_prefix(title).and_then(|rest| rest.strip_prefix(" (log in "));
        log.and_then(|rest| rest.split_once("): ")).unwrap_or_else(|| panic!("no log in {text}"))
    }
}
