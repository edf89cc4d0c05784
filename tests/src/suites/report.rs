// SPDX-License-Identifier: Apache-2.0
//! Counts of tests, and the table of them for people.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use super::Suite;

/// What became of some tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Each with its name and reason.
    pub(crate) skipped: Vec<String>,
}

/// What became of one suite.
#[derive(Clone, Debug)]
pub(crate) struct SuiteReport {
    pub(crate) suite: Suite,
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
}

/// What became of all suites. Its text ends with the line that counts them together.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub(crate) suites: Vec<SuiteReport>,
}

// === impl Tally ===

impl Tally {
    /// For what could not even begin.
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: Vec::new() };

    /// Tests that had a result.
    pub(crate) fn ran(&self) -> usize {
        self.passed + self.failed
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.skipped.len() {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

// === impl Report ===

impl Report {
    /// Whether every test passed that was not skipped, and there was one.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let total = self.total();
        total.failed == 0 && total.passed > 0
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for report in &self.suites {
            total += report.tally.clone();
        }
        total
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SuiteReport { suite, tally, took } in &self.suites {
            writeln!(f, "{suite:<12}{:>8.1} s   {tally}", took.as_secs_f64())?;
        }
        let total = self.total();
        for reason in &total.skipped {
            writeln!(f, "skipped: {reason}")?;
        }
        write!(f, "{total}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tallies: &[(Suite, Tally)]) -> Report {
        let took = Duration::from_millis(1250);
        let suites = tallies.iter().cloned();
        Report { suites: suites.map(|(suite, tally)| SuiteReport { suite, tally, took }).collect() }
    }

    #[test]
    fn the_last_line_counts_all_suites() {
        let skipped = vec!["boots: no KVM".to_owned()];
        let rig = Tally { passed: 3, failed: 1, skipped };
        let style = Tally { passed: 2, ..Tally::default() };
        let report = report(&[(Suite::Style, style), (Suite::Rig, rig)]);
        let expected = "\
style            1.2 s   2 passed, 0 failed
rig              1.2 s   3 passed, 1 failed, 1 skipped
skipped: boots: no KVM
5 passed, 1 failed, 1 skipped";
        assert_eq!(report.to_string(), expected);
        assert!(!report.is_success());
    }

    #[test]
    fn without_skipped_tests_the_last_line_does_not_speak_of_them() {
        let report = report(&[(Suite::Unit, Tally { passed: 3, ..Tally::default() })]);
        assert!(report.to_string().ends_with("\n3 passed, 0 failed"));
        assert!(report.is_success());
    }

    #[test]
    fn nothing_is_no_success() {
        assert!(!report(&[]).is_success());
        assert!(!report(&[(Suite::Unit, Tally::FAILED)]).is_success());
    }
}
