// SPDX-License-Identifier: Apache-2.0
//! What Rust's test harness prints.
//!
//! In: the whole output of one test program, or of several in a row, and the exit status. Out:
//! counts, reasons of skipped tests, and the part that tells why tests failed. A program that
//! ends without its summary has failed, whatever its exit status.

use std::process::ExitStatus;

use super::remark::{MEASURED, SKIPPED};
use super::report::Tally;

/// How much is shown of a program that died.
const TAIL_LINES: usize = 40;

/// What `timeout` exits with when it had to end the program.
const TIMED_OUT: i32 = 124;

#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) tally: Tally,
    /// Figures that tests want to be seen.
    pub(super) measured: Vec<String>,
    /// What failed tests printed, and their names.
    pub(super) failures: String,
    summaries: usize,
    in_failures: bool,
}

pub(super) fn read(output: &str, status: ExitStatus) -> Reading {
    let mut reading = Reading::default();
    for line in output.lines() {
        reading.take(line);
    }
    // A test that says so and passes is counted once.
    let said = reading.tally.skipped.len();
    reading.tally.passed = reading.tally.passed.saturating_sub(said);
    reading.tally.skipped.extend(output.lines().filter_map(ignored));
    let complete = reading.summaries > 0 && status.success() == (reading.tally.failed == 0);
    if !complete {
        reading.tally.failed += 1;
        reading.failures += &death(output, status);
    }
    reading
}

// === impl Reading ===

impl Reading {
    fn take(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.in_failures = false;
            self.summaries += 1;
            self.tally.passed += count(counts, "passed");
            self.tally.failed += count(counts, "failed");
        } else if line.starts_with(MEASURED) {
            self.measured.push(line.to_owned());
        } else if let Some(reason) = line.strip_prefix(SKIPPED) {
            self.tally.skipped.push(reason.to_owned());
        } else if self.in_failures || line == "failures:" {
            self.in_failures = true;
            self.failures += line;
            self.failures.push('\n');
        }
    }
}

/// `ok. 3 passed; 1 failed; ...`
fn count(counts: &str, what: &str) -> usize {
    let mut words = counts.split([' ', ';']).filter(|word| !word.is_empty());
    let mut before = "";
    words
        .find_map(|word| {
            if word == what {
                Some(before)
            } else {
                before = word;
                None
            }
        })
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// `test NAME ... ignored, REASON`
fn ignored(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    match rest.strip_prefix(", ") {
        Some(reason) => Some(format!("{name}: {reason}")),
        None => rest.is_empty().then(|| format!("{name}: no reason given")),
    }
}

fn death(output: &str, status: ExitStatus) -> String {
    let lines: Vec<_> = output.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    let how = match status.code() {
        Some(TIMED_OUT) => "it took too long".to_owned(),
        _ => status.to_string(),
    };
    format!("the program ended without a verdict ({how}); its last lines:\n{tail}\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::{Reading, Tally, read};

    const PASSING: &str = "
running 3 tests
measured: 111 crates
skipped: tests::c: no KVM
test tests::a ... ok
test tests::b ... ignored, takes an hour
test tests::c ... ok

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    const FAILING: &str = "
running 2 tests
test a ... ok
test b ... FAILED

failures:

---- b stdout ----
thread 'b' panicked at src/lib.rs:3:9:
left != right


failures:
    b

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s

error: test failed, to rerun pass `--lib`
";

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn counts(reading: &Reading) -> (usize, usize, usize) {
        let Tally { passed, failed, skipped } = &reading.tally;
        (*passed, *failed, skipped.len())
    }

    #[test]
    fn skipped_tests_are_counted_apart_with_their_reasons() {
        let reading = read(PASSING, exit(0));
        assert_eq!(counts(&reading), (1, 0, 2));
        let reasons = ["tests::c: no KVM", "tests::b: takes an hour"];
        assert_eq!(reading.tally.skipped, reasons);
        assert_eq!(reading.measured, ["measured: 111 crates"]);
        assert_eq!(reading.failures, "");
    }

    #[test]
    fn failures_are_told_with_their_output() {
        let reading = read(FAILING, exit(101));
        assert_eq!(counts(&reading), (1, 1, 0));
        assert!(reading.failures.contains("left != right"), "{}", reading.failures);
        assert!(!reading.failures.contains("to rerun"), "{}", reading.failures);
    }

    #[test]
    fn several_programs_in_a_row_add_up() {
        let reading = read(&[PASSING, FAILING].concat(), exit(101));
        assert_eq!(counts(&reading), (2, 1, 2));
    }

    #[test]
    fn a_program_that_dies_has_failed() {
        let killed = read("running 1 test\n", ExitStatus::from_raw(9));
        assert_eq!(counts(&killed), (0, 1, 0));
        assert!(killed.failures.contains("signal: 9"), "{}", killed.failures);
        let late = read("running 1 test\n", exit(124));
        assert!(late.failures.contains("it took too long"), "{}", late.failures);
        assert_eq!(counts(&read("", exit(0))), (0, 1, 0), "no summary");
        assert_eq!(counts(&read(PASSING, exit(101))), (1, 1, 2), "a status that contradicts");
    }
}
