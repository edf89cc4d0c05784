// SPDX-License-Identifier: Apache-2.0
//! Lines on the console, which the rig reads from the serial port: marker lines with the uptime,
//! and the output of spawned programs with a prefix. A line that can't be written is lost.

use std::fs;
use std::io::{self, Write};

use guest_init::protocol::{FAILED_MARKER, READY_MARKER};

/// Says that the control channel is open.
pub(crate) fn ready() {
    print(&format!("{READY_MARKER} uptime={}", uptime()));
}

/// Says why init gives up.
pub(crate) fn failed(reason: &str) {
    print(&format!("{FAILED_MARKER} uptime={} {reason}", uptime()));
}

/// Says something that is no marker.
pub(crate) fn note(text: &str) {
    print(&format!("guest-init: uptime={} {text}", uptime()));
}

/// Shows one line of a spawned program's output.
pub(crate) fn mirror(program: &str, line: &[u8]) {
    print(&format!("[{program}] {}", String::from_utf8_lossy(line)));
}

/// In one write, so that lines of several threads don't mix.
fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

/// Seconds since the kernel's start, as text; "?" before /proc is mounted.
fn uptime() -> String {
    fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split_whitespace().next().map(str::to_owned))
        .unwrap_or_else(|| "?".to_owned())
}
