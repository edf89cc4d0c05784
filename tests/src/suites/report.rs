// SPDX-License-Identifier: Apache-2.0
//! Counts of tests, and the table of them for people.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use super::{Suite, skips};

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
    /// Whether every test passed that was not skipped, and there was one. In CI none may be skipped
    /// that is not expected to be.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let total = self.total(skips::is_ci());
        total.failed == 0 && total.passed > 0
    }

    /// In CI what was skipped without being expected to be has failed.
    fn total(&self, is_ci: bool) -> Tally {
        let mut total = Tally::default();
        for report in &self.suites {
            total += report.tally.clone();
        }
        if is_ci {
            total.failed += skips::unexpected(&total.skipped).len();
        }
        total
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, is_ci: bool) -> fmt::Result {
        for SuiteReport { suite, tally, took } in &self.suites {
            writeln!(f, "{suite:<12}{:>8.1} s   {tally}", took.as_secs_f64())?;
        }
        let total = self.total(is_ci);
        for reason in &total.skipped {
            writeln!(f, "skipped: {reason}")?;
        }
        let unexpected = skips::unexpected(&total.skipped);
        if !unexpected.is_empty() {
            let count = unexpected.len();
            writeln!(f, "NOT TESTED on this machine, for what it lacks: {count} tests")?;
            for reason in unexpected {
                let verdict = if is_ci { "failed: skipped in CI" } else { "not tested" };
                writeln!(f, "{verdict}: {reason}")?;
            }
        }
        write!(f, "{total}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, skips::is_ci())
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

    /// As printed here, or in CI.
    struct Printed<'a>(&'a Report, bool);

    impl fmt::Display for Printed<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.write(f, self.1)
        }
    }

    #[test]
    fn the_last_line_counts_all_suites_and_what_was_not_tested_is_said() {
        let skipped = vec!["boots: no loop devices".to_owned(), "a [c]: no words".to_owned()];
        let rig = Tally { passed: 3, failed: 0, skipped };
        let style = Tally { passed: 2, ..Tally::default() };
        let report = report(&[(Suite::Style, style), (Suite::Rig, rig)]);
        let expected = "\
style            1.2 s   2 passed, 0 failed
rig              1.2 s   3 passed, 0 failed, 2 skipped
skipped: boots: no loop devices
skipped: a [c]: no words
NOT TESTED on this machine, for what it lacks: 1 tests
not tested: boots: no loop devices
5 passed, 0 failed, 2 skipped";
        assert_eq!(Printed(&report, false).to_string(), expected);
        let ci = Printed(&report, true).to_string();
        assert!(ci.contains("\nfailed: skipped in CI: boots: no loop devices\n"), "{ci}");
        assert!(ci.ends_with("\n5 passed, 1 failed, 2 skipped"), "{ci}");
        assert_eq!((report.total(false).failed, report.total(true).failed), (0, 1));
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
