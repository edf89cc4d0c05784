// SPDX-License-Identifier: Apache-2.0
//! What the driver says of a way: one JSON object on a line.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A way, how far it led, and what it left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Id of the way.
    pub way: String,
    /// Where it led.
    pub outcome: Outcome,
    /// Steps that were begun, in their order.
    pub steps: Vec<String>,
    /// What could not be put back, and why: others would not find the same image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// Where a way led.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The target's code ran: what only it prints was read.
    Ran,
    /// The kernel refused a step, by an error number that means so or by a signal.
    Denied(Stop),
    /// A step failed for another reason.
    Failed(Stop),
}

/// The step that a way ended with, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The step.
    pub step: String,
    /// Name of an error number, of a signal, or a sentence.
    pub reason: String,
}

// === impl Report ===

impl Report {
    /// Exit code of a driver that went this way only.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.outcome {
            Outcome::Ran => 0,
            Outcome::Denied(_) => 1,
            Outcome::Failed(_) => 2,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4} {}", self.way, self.outcome)?;
        self.left.iter().try_for_each(|left| write!(f, "; left behind: {left}"))
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran => f.write_str("ran"),
            Self::Denied(stop) => write!(f, "denied at {stop}"),
            Self::Failed(stop) => write!(f, "failed at {stop}"),
        }
    }
}

// === impl Stop ===

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)
    }
}

/// Exit code of a driver that went these ways: 0 if one ran, 1 if all were denied, else 2.
#[must_use]
pub fn code(reports: &[Report]) -> u8 {
    let codes = || reports.iter().map(Report::code);
    if codes().any(|code| code == 0) { 0 } else { codes().max().unwrap_or(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> Report {
        Report { way: "B01".into(), outcome, steps: vec!["exec".into()], left: Vec::new() }
    }

    fn stop() -> Stop {
        Stop { step: "exec".into(), reason: "EACCES".into() }
    }

    #[test]
    fn a_single_target_that_ran_decides_the_exit_code() {
        let [ran, denied, failed] =
            [Outcome::Ran, Outcome::Denied(stop()), Outcome::Failed(stop())].map(report);
        assert_eq!([&ran, &denied, &failed].map(Report::code), [0, 1, 2]);
        assert_eq!(code(&[denied.clone(), ran, failed.clone()]), 0);
        assert_eq!(code(&[denied.clone(), failed]), 2);
        assert_eq!(code(&[denied]), 1);
        assert_eq!(code(&[]), 2, "nothing was shown");
    }

    #[test]
    fn reports_travel_as_json_and_read_as_a_line() {
        let mut report = report(Outcome::Denied(stop()));
        let line = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
        report.left.push("/usr2".into());
        assert_eq!(report.to_string(), "B01  denied at exec: EACCES; left behind: /usr2");
    }
}
