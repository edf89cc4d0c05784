// SPDX-License-Identifier: Apache-2.0
//! Denials, as the relay's events tell of them.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Denials that differ in nothing that counts here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Denial {
    /// The kernel's hook.
    pub(super) hook: String,
    /// What was accessed; empty where it is no file.
    pub(super) path: String,
    /// Who accessed it: a path, or a task's name where the kernel gives no path.
    pub(super) program: String,
    /// The primitive of hardening that denied, else the event's reason.
    pub(super) cause: String,
    /// Policies whose rules decided.
    pub(super) policies: Vec<String>,
    /// How many events there were.
    pub(super) count: usize,
}

impl Denial {
    fn of(event: &Value) -> Option<Self> {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        if event["action"] != "Block" {
            return None;
        }
        let (program, primitive) = (text("source"), text("primitive"));
        let names = event["policyNames"].as_array().into_iter().flatten();
        Some(Self {
            hook: text("hook"),
            path: text("resource"),
            program: if program.is_empty() { text("comm") } else { program },
            cause: if primitive.is_empty() { text("reason") } else { primitive },
            policies: names.filter_map(Value::as_str).map(str::to_owned).collect(),
            count: 1,
        })
    }
}

/// The denials among these lines, each once.
pub(super) fn of_events(lines: &[String]) -> Vec<Denial> {
    let mut denials = Vec::<Denial>::new();
    let events = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    for denial in events.filter_map(|event: Value| Denial::of(&event)) {
        match denials.iter_mut().find(|known| Denial { count: 1, ..(*known).clone() } == denial) {
            Some(known) => known.count += 1,
            None => denials.push(denial),
        }
    }
    denials
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hook, path, program, cause, policies, count } = self;
        write!(f, "{cause} denied ")?;
        if !path.is_empty() {
            write!(f, "{path} to ")?;
        }
        write!(f, "{program} at {hook}")?;
        if !policies.is_empty() {
            write!(f, " by {}", policies.join(", "))?;
        }
        if *count > 1 {
            write!(f, ", {count} times")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_denials_are_counted_and_audits_are_none() {
        let event = |action: &str, primitive: &str| {
            format!(
                r#"{{"action":"{action}","hook":"file_open","resource":"/a","source":"/bin/cat",
                "reason":"Hardening","primitive":"{primitive}","policyNames":["p"]}}"#
            )
        };
        let lines = [
            event("Block", "taint"),
            event("Audit", "taint"),
            event("Block", "taint"),
            event("Block", ""),
        ];
        let denials = of_events(&lines);
        let causes: Vec<_> = denials.iter().map(|one| (one.cause.as_str(), one.count)).collect();
        assert_eq!(causes, [("taint", 2), ("Hardening", 1)]);
        let text = "taint denied /a to /bin/cat at file_open by p, 2 times";
        assert_eq!(denials[0].to_string(), text);
    }
}
