// SPDX-License-Identifier: Apache-2.0
//! Starts a program that keeps running. A thread copies its output, line by line, to its log file
//! and to the console, until every holder of the pipe is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result};
use guest_init::protocol::Spawn;

use crate::{children, console, exec};

/// Starts the program and returns its pid.
pub(crate) fn run(spawn: &Spawn) -> Result<i32> {
    let mut command = exec::command(&spawn.argv, &spawn.env)?;
    let log = open_log(&spawn.log).with_context(|| format!("open {}", spawn.log))?;
    let (output, stdout) = io::pipe()?;
    command.stdin(Stdio::null()).stderr(stdout.try_clone()?).stdout(stdout);
    let (child, _) =
        children::start(&mut command).with_context(|| format!("start {}", spawn.argv[0]))?;
    let program = Path::new(&spawn.argv[0]).file_name().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    thread::spawn(move || copy_lines(&program, output, log));
    Ok(children::pid_of(&child))
}

fn open_log(path: &str) -> io::Result<File> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn copy_lines(program: &str, output: PipeReader, mut log: File) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(mut line) = line else { return };
        line.push(b'\n');
        // The console gets the line in any case, and last: who sees it there finds it in the file.
        let _ = log.write_all(&line);
        line.pop();
        console::mirror(program, &line);
    }
}
