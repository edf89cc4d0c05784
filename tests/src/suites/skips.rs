// SPDX-License-Identifier: Apache-2.0
//! Skipped tests, and whether they were expected. Pure.
//!
//! In: reasons as the summary shows them. Out: those that `.ci/expected-skips` does not list. In CI such
//! a one is a failure; elsewhere it is what the machine lacks, and said loudly.

use std::env;

use crate::apt::matches;

/// What CI expects.
const EXPECTED: &str = include_str!("../../../.ci/expected-skips");

/// Whether this is CI, whose machine is to have all that tests need.
pub(super) fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

/// Those that are not expected.
pub(super) fn unexpected(skipped: &[String]) -> Vec<&String> {
    skipped.iter().filter(|reason| !is_expected(EXPECTED, reason)).collect()
}

fn is_expected(list: &str, reason: &str) -> bool {
    let patterns = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    patterns.into_iter().any(|pattern| matches(pattern, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_lacks_is_not_expected() {
        let skipped = [
            "virtiofs::names::a_name_that_the_host_moves: the host has no loop devices",
            "failures::child_that_boots_and_waits: started by another test",
            "file/path/audit [c]: marks of written files",
            "file/path/audit [vm]: marks of written files",
        ]
        .map(str::to_owned);
        assert_eq!(unexpected(&skipped), [&skipped[0], &skipped[3]]);
    }

    #[test]
    fn a_list_has_comments_and_patterns() {
        let list = "# a comment: x\n\nexact: reason\nprefix*: reason\n";
        assert!(is_expected(list, "exact: reason") && is_expected(list, "prefix::a: reason"));
        assert!(!is_expected(list, "exact: reasons") && !is_expected(list, "# a comment: x"));
        assert!(!is_expected(list, ""));
    }
}
