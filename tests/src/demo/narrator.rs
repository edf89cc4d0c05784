// SPDX-License-Identifier: Apache-2.0
//! Prints the demo's narrative to standard output, with colours on a terminal only.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicU32, Ordering},
};

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Speaks to a person.
pub(super) struct Narrator {
    colours: bool,
    steps: AtomicU32,
}

// === impl Narrator ===

impl Narrator {
    pub(super) fn new() -> Self {
        let colours = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { colours, steps: AtomicU32::new(0) }
    }

    pub(super) fn title(&self, text: &str) {
        self.line(BOLD, text);
    }

    /// A numbered heading.
    pub(super) fn step(&self, text: &str) {
        let number = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        self.line("", "");
        self.line(BOLD, &format!("{number}. {text}"));
    }

    pub(super) fn say(&self, text: &str) {
        self.line("", &format!("   {text}"));
    }

    /// Text as it stands in a file or came from a program.
    pub(super) fn quote(&self, text: &str) {
        for line in text.lines() {
            self.line(DIM, &format!("   | {line}"));
        }
    }

    /// What somebody typed in a container, and what that printed.
    pub(super) fn command(&self, place: &str, command: &str, printed: &str) {
        self.line("", &format!("   {place}# {command}"));
        self.quote(printed);
    }

    pub(super) fn done(&self, text: &str) {
        self.line("", "");
        self.line(GREEN, text);
    }

    pub(super) fn failed(&self, text: &str) {
        self.line("", "");
        self.line(RED, &format!("This step does not hold: {text}"));
    }

    fn line(&self, colour: &str, text: &str) {
        let mut out = io::stdout().lock();
        // A reader that went away must not end the demo before its verdict.
        let _ = if self.colours && !colour.is_empty() {
            writeln!(out, "{colour}{text}{RESET}")
        } else {
            writeln!(out, "{text}")
        };
    }
}
