// SPDX-License-Identifier: Apache-2.0
//! The log, on standard error: standard output belongs to events.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use crate::args::LogFormat;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter.
    #[error("--log cannot be read")]
    Filter(#[from] ParseError),
    /// There is one already.
    #[error("logging is installed already")]
    Installed,
}

/// Installs the log for the whole process.
///
/// # Errors
/// If the filter is malformed.
pub fn install(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = match format {
        LogFormat::Text => builder.with_ansi(coloured()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| LogError::Installed)
}

/// Colours are for people: on a terminal, unless NO_COLOR is set to anything.
fn coloured() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
