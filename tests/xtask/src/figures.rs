// SPDX-License-Identifier: Apache-2.0
//! How a verb that takes figures ends: a table for people, a file for machines, an exit code.

use std::{
    fmt, fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// What could not be measured is worse than what was missed.
const INCOMPLETE: u8 = 2;

/// Prints a table, which may have colours on a terminal.
pub(crate) fn print<T: fmt::Display>(table: impl FnOnce(bool) -> T) -> Result<()> {
    let mut out = io::stdout().lock();
    let table = table(out.is_terminal());
    Ok(writeln!(out, "{table}")?)
}

/// Writes the same for machines, if that was asked for.
pub(crate) fn save(path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// 0 if every target is met, 1 if one is missed, 2 if a part could not be had.
pub(crate) fn exit_code(is_complete: bool, is_met: bool) -> ExitCode {
    match (is_complete, is_met) {
        (false, _) => ExitCode::from(INCOMPLETE),
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
    }
}
