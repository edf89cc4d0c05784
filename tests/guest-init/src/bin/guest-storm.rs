// SPDX-License-Identifier: Apache-2.0
//! Opens files in a loop, faster than any shell.
//!
//! In: `COUNT FILES PATH [ONCE]`: COUNT opens of PATH, or in turn of FILES files in the directory
//! PATH if FILES is not 0; and one of ONCE in their middle. Out: a [`Storm`] as JSON on standard
//! output. Never: stops at a failure, which is what it is for.

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use guest_init::storm::Storm;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

fn main() -> ExitCode {
    match storm() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("guest-storm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn storm() -> Result<String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (count, files, path, once) = match &arguments[..] {
        [count, files, path] => (count, files, path, None),
        [count, files, path, once] => (count, files, path, Some(once)),
        _ => bail!("usage: guest-storm COUNT FILES PATH [ONCE]"),
    };
    let count: u64 = count.parse().context("COUNT")?;
    let paths = paths(path, files.parse().context("FILES")?);
    let mut outcomes = BTreeMap::new();
    let mut attempt = |path: &str| *outcomes.entry(outcome(path)).or_default() += 1;
    let start = Instant::now();
    for (number, path) in (0..count).zip(paths.iter().cycle()) {
        if let Some(once) = once.filter(|_| number == count / 2) {
            attempt(once);
        }
        attempt(path);
    }
    let nanoseconds = start.elapsed().as_nanos().try_into().context("an elapsed time")?;
    Ok(serde_json::to_string(&Storm { outcomes, nanoseconds })?)
}

fn paths(path: &str, files: u64) -> Vec<String> {
    match files {
        0 => vec![path.to_owned()],
        files => (0..files).map(|file| format!("{path}/{file}")).collect(),
    }
}

/// The errno of one open, 0 if it succeeds.
fn outcome(path: &str) -> i32 {
    match open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(_closed) => 0,
        Err(errno) => errno as i32,
    }
}
