// SPDX-License-Identifier: Apache-2.0
//! What is said of a run: lines as Rust's test harness prints them, JUnit for CI systems, and JSON.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// One run of one case, or a test beside the cases.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Test {
    /// Id of the case.
    pub(crate) case: String,
    /// Where it ran: `eval`, `c`, `vm`.
    pub(crate) leg: &'static str,
    pub(crate) tags: Vec<String>,
    pub(crate) seconds: f64,
    pub(crate) failures: Vec<String>,
    /// Parts that could not be done there, with reasons.
    pub(crate) skipped: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    tests: Vec<Test>,
}

// === impl Test ===

impl Test {
    fn name(&self) -> String {
        format!("{} [{}]", self.case, self.leg)
    }

    pub(crate) fn took(mut self, time: Duration) -> Self {
        self.seconds = time.as_secs_f64();
        self
    }
}

// === impl Report ===

impl Report {
    /// Says at once how a test ended.
    pub(crate) fn add(&mut self, test: Test) {
        let verdict = if test.failures.is_empty() { "ok" } else { "FAILED" };
        if test.failures.is_empty() && !test.skipped.is_empty() {
            e2e::step::say(&format!("skipped: {}: {}", test.name(), test.skipped.join("; ")));
        }
        println!("test {} ... {verdict}", test.name());
        self.tests.push(test);
    }

    pub(crate) fn is_success(&self) -> bool {
        !self.tests.is_empty() && self.tests.iter().all(|test| test.failures.is_empty())
    }

    /// Failures and counts.
    pub(crate) fn print(&self) {
        let failed: Vec<_> = self.tests.iter().filter(|test| !test.failures.is_empty()).collect();
        if !failed.is_empty() {
            println!("\nfailures:\n");
            for test in &failed {
                println!("---- {} ----\n{}\n", test.name(), test.failures.join("\n"));
            }
        }
        let (word, passed) =
            (if self.is_success() { "ok" } else { "FAILED" }, self.tests.len() - failed.len());
        println!("\ntest result: {word}. {passed} passed; {} failed; 0 ignored", failed.len());
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    pub(crate) fn write_junit(&self, path: &Path) -> Result<()> {
        let count = |of: fn(&Test) -> bool| self.tests.iter().filter(|test| of(test)).count();
        let failed = count(|test| !test.failures.is_empty());
        let skipped = count(|test| test.failures.is_empty() && !test.skipped.is_empty());
        let time: f64 = self.tests.iter().map(|test| test.seconds).sum();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        writeln!(
            text,
            "<testsuite name=\"conformance\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{time:.3}\">",
            self.tests.len()
        )?;
        for test in &self.tests {
            write_case(&mut text, test)?;
        }
        text.push_str("</testsuite>\n");
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

fn write_case(text: &mut String, test: &Test) -> Result<()> {
    let (name, leg) = (escape(&test.case), test.leg);
    write!(text, "  <testcase classname=\"{leg}\" name=\"{name}\" time=\"{:.3}\"", test.seconds)?;
    if test.failures.is_empty() && test.skipped.is_empty() {
        text.push_str("/>\n");
        return Ok(());
    }
    let (element, messages) = if test.failures.is_empty() {
        ("skipped", &test.skipped)
    } else {
        ("failure", &test.failures)
    };
    let messages = escape(&messages.join("\n"));
    writeln!(text, ">\n    <{element} message=\"{messages}\"/>\n  </testcase>")?;
    Ok(())
}

/// For an attribute. Control characters have no place in XML 1.0; line breaks stay as references.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            letter if letter.is_control() => escaped.push('?'),
            letter => escaped.push(letter),
        }
    }
    escaped
}
