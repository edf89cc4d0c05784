// SPDX-License-Identifier: Apache-2.0
//! The lines that are typed, what has to be seen, and how everything is put back.

use std::fmt;

use super::{Rules, Seen};

/// One line.
pub(super) struct Case {
    /// Number in the evaluation.
    pub(super) id: &'static str,
    pub(super) command: &'static str,
    /// Without a policy: it does what its author wants.
    free: Expected,
    literal: Expected,
    default: Expected,
    /// Run after it, whatever it did; leaves /usr/bin/apt where it was.
    pub(super) restore: &'static str,
}

/// A status, and a line that is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Any if not given: without a network apt may end as it likes.
    status: Option<i32>,
    /// Beginning of a line; nothing at all is printed if empty.
    line: &'static str,
}

const fn ends(status: i32, line: &'static str) -> Expected {
    Expected { status: Some(status), line }
}

/// apt itself speaks: it was executed.
const UPDATES: Expected = Expected { status: None, line: "Reading package lists..." };
const SPEAKS: Expected = ends(0, "apt 2.");
const QUIET: Expected = ends(0, "");
const DENIED: Expected = ends(126, "bash: /usr/bin/apt: Permission denied");

const BACK: &str =
    "if [ -e /usr/bin/x ]; then mv -f /usr/bin/x /usr/bin/apt; fi; test -e /usr/bin/apt";
const GONE: &str = "rm -f /usr/bin/x; test -e /usr/bin/apt";

/// KS-1: the use case as published; KS-1.2 with the ways that remain; KS-2: the table of three
/// manipulations. KS-1.2 goes on where KS-1.1 ended.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "ks-1.0",
        command: "apt update",
        free: UPDATES,
        literal: DENIED,
        default: DENIED,
        restore: "",
    },
    Case {
        id: "ks-1.1",
        command: "mv /usr/bin/apt /usr/bin/manipulated-apt",
        free: QUIET,
        literal: QUIET,
        default: ends(
            1,
            "mv: cannot move '/usr/bin/apt' to '/usr/bin/manipulated-apt': Permission denied",
        ),
        restore: "",
    },
    Case {
        id: "ks-1.1.name",
        command: "ls /usr/bin/apt /usr/bin/manipulated-apt 2> /dev/null",
        free: ends(2, "/usr/bin/manipulated-apt"),
        literal: ends(2, "/usr/bin/manipulated-apt"),
        default: ends(2, "/usr/bin/apt"),
        restore: "",
    },
    Case {
        id: "ks-1.2",
        command: "manipulated-apt update",
        free: UPDATES,
        literal: UPDATES,
        default: ends(127, "bash: manipulated-apt: command not found"),
        restore: "cd /usr/bin; if [ -e manipulated-apt ]; then mv manipulated-apt apt; fi; test -e apt",
    },
    Case {
        id: "ks-1.2.exchange",
        // renameat2 with RENAME_EXCHANGE; mv of Debian 12 has no option for it.
        command: "cp /bin/true /usr/bin/x; perl -e '($a, $b) = @ARGV; \
                  exit 0 if syscall(316, -100, $a, -100, $b, 2) == 0; die \"exchange: $!\\n\"' \
                  /usr/bin/apt /usr/bin/x && /usr/bin/x --version",
        free: SPEAKS,
        literal: SPEAKS,
        default: ends(13, "exchange: Permission denied"),
        restore: "cd /usr/bin; if cmp -s apt true; then mv -f x apt; else rm x; fi; test -e apt",
    },
    Case {
        id: "ks-1.2.parent",
        command: "mv /usr/bin /usr/bin2; /usr/bin2/apt --version; status=$?; \
                  /usr/bin2/mv /usr/bin2 /usr/bin; (exit $status)",
        free: SPEAKS,
        literal: SPEAKS,
        default: ends(126, "bash: /usr/bin2/apt: Permission denied"),
        restore: "test -e /usr/bin/apt",
    },
    Case {
        id: "ks-1.2.bind",
        command: "mkdir -p /mnt/b && mount --bind /usr/bin /mnt/b && /mnt/b/apt --version",
        free: SPEAKS,
        // A bind mount is no other name: rules are about the file system below it.
        literal: ends(126, "bash: /mnt/b/apt: Permission denied"),
        default: ends(126, "bash: /mnt/b/apt: Permission denied"),
        restore: "umount /mnt/b; test -e /usr/bin/apt",
    },
    Case {
        id: "ks-2.mv",
        command: "mv /usr/bin/apt /usr/bin/x && /usr/bin/x --version",
        free: SPEAKS,
        literal: SPEAKS,
        default: ends(1, "mv: cannot move '/usr/bin/apt' to '/usr/bin/x': Permission denied"),
        restore: BACK,
    },
    Case {
        id: "ks-2.cp",
        command: "cp /usr/bin/apt /usr/bin/x && /usr/bin/x --version",
        free: SPEAKS,
        literal: SPEAKS,
        default: ends(1, "cp: cannot open '/usr/bin/apt' for reading: Permission denied"),
        restore: GONE,
    },
    Case {
        id: "ks-2.ln",
        command: "ln /usr/bin/apt /usr/bin/x && /usr/bin/x --version",
        free: SPEAKS,
        literal: SPEAKS,
        default: ends(
            1,
            "ln: failed to create hard link '/usr/bin/x' => '/usr/bin/apt': Permission denied",
        ),
        restore: GONE,
    },
];

// === impl Case ===

impl Case {
    pub(super) fn expected(&self, rules: Rules) -> Expected {
        match rules {
            Rules::None => self.free,
            Rules::Literal => self.literal,
            Rules::Default => self.default,
        }
    }
}

// === impl Expected ===

impl Expected {
    pub(super) fn accepts(self, seen: &Seen) -> bool {
        let line = if self.line.is_empty() {
            seen.lines.is_empty()
        } else {
            seen.lines.iter().any(|line| self.is_line(line))
        };
        line && (self.status.is_none() || self.status == seen.status)
    }

    fn is_line(self, line: &str) -> bool {
        !self.line.is_empty() && line.starts_with(self.line)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "exit {status}  {}", self.line),
            None => write!(f, "any exit  {}", self.line),
        }
    }
}

// === impl Seen ===

impl Seen {
    /// The expected line, or the first ones if it is not there; apt has many.
    pub(super) fn describe(&self, expected: Expected) -> String {
        let status = self.status.map_or("no exit".to_owned(), |status| format!("exit {status}"));
        let hit = self.lines.iter().find(|line| expected.is_line(line));
        let lines = match hit {
            Some(line) => line.clone(),
            None => self.lines.iter().take(3).cloned().collect::<Vec<_>>().join(" | "),
        };
        let shown = if hit.is_some() { 1 } else { 3 };
        match self.lines.len().saturating_sub(shown) {
            0 => format!("{status}  {lines}"),
            more => format!("{status}  {lines} | and {more} more lines"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: i32, lines: &[&str]) -> Seen {
        Seen { status: Some(status), lines: lines.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn text_and_status_count_both() {
        let denial = "bash: /usr/bin/apt: Permission denied";
        assert!(DENIED.accepts(&seen(126, &[denial])));
        assert!(!DENIED.accepts(&seen(1, &[denial])));
        assert!(!DENIED.accepts(&seen(126, &["bash: apt: command not found"])));
        assert!(UPDATES.accepts(&seen(100, &["Hit:1", "Reading package lists... Done"])));
    }

    #[test]
    fn silence_is_expected_where_nothing_is() {
        assert!(QUIET.accepts(&seen(0, &[])));
        assert!(!QUIET.accepts(&seen(0, &["mv: overwrite?"])));
    }

    #[test]
    fn every_case_runs_what_it_is_about_without_a_policy() {
        for case in CASES {
            assert_ne!(case.free.status, Some(126), "{}", case.id);
            assert_ne!(case.free.line, case.default.line, "{}", case.id);
        }
    }
}
