// SPDX-License-Identifier: Apache-2.0
//! What enforcement needs of a kernel, and why.
//!
//! In: the enforcement fragment, whose head describes the `#@` lines. Out: one [`Need`] per
//! option. Never: accepts an option without its reasons, so that the fragment stays its own
//! documentation.

use std::fmt;

use serde::{Serialize, Serializer};

use super::config::{Config, InvalidConfig, Value};

/// All needs, in the fragment's order.
#[derive(Clone, Debug)]
pub struct Needs(pub(super) Vec<Need>);

/// One option that enforcement uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) option: String,
    pub(super) expected: Expected,
    pub(super) level: Level,
    pub(super) why: String,
    pub(super) without: String,
    /// What must hold for a module to do; `None`: it has to be built in.
    pub(super) module: Option<String>,
}

/// What an option has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this.
    Value(Value),
    /// A comma-separated list with this item.
    Item(String),
}

/// How much depends on an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Without it policies are not enforced, or the agent refuses readiness.
    Required,
    /// Works without it, with a loss.
    Advised,
}

/// A fragment that does not follow its own form.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidNeeds {
    /// Not even a fragment.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// An option whose `#@` lines lack something.
    #[error("line {line}: {option} has no `#@ {missing}` line above it")]
    Missing {
        /// Line of the option, counted from 1.
        line: usize,
        /// The whole option line.
        option: String,
        /// What is missing.
        missing: &'static str,
    },
    /// A `#@` line of an unknown kind.
    #[error("line {line}: `#@ {text}` is none of the known kinds")]
    Unknown {
        /// Counted from 1.
        line: usize,
        /// What follows `#@`.
        text: String,
    },
}

/// The `#@` lines above an option.
#[derive(Default)]
struct Notes {
    level: Option<Option<Level>>,
    why: Option<String>,
    without: Option<String>,
    module: Option<String>,
}

// === impl Needs ===

impl Needs {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidNeeds> {
        let mut needs = Vec::new();
        let mut notes = Notes::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some((option, expected)) = subject(line)? {
                let need = std::mem::take(&mut notes).need(option, expected);
                needs.extend(need.map_err(|missing| InvalidNeeds::Missing {
                    line: number + 1,
                    option: line.to_owned(),
                    missing,
                })?);
            } else if let Some(note) = line.strip_prefix("#@") {
                notes.add(note.trim()).ok_or_else(|| InvalidNeeds::Unknown {
                    line: number + 1,
                    text: note.trim().to_owned(),
                })?;
            }
        }
        Ok(Self(needs))
    }
}

/// The option that a block of notes ends with.
fn subject(line: &str) -> Result<Option<(String, Expected)>, InvalidConfig> {
    let list = line.strip_prefix("#@ list: CONFIG_").and_then(|list| list.split_once(" has "));
    if let Some((option, item)) = list {
        return Ok(Some((option.to_owned(), Expected::Item(item.to_owned()))));
    }
    if !line.starts_with("CONFIG_") {
        return Ok(None);
    }
    let option = Config::parse(line)?.options.pop_first();
    Ok(option.map(|(option, value)| (option, Expected::Value(value))))
}

// === impl Expected ===

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Item(item) => write!(f, "a list with {item}"),
        }
    }
}

impl Serialize for Expected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Notes ===

impl Notes {
    /// `None` if the note is of no known kind.
    fn add(&mut self, note: &str) -> Option<()> {
        match note.split_once(": ") {
            Some(("why", text)) => self.why = Some(text.to_owned()),
            Some(("without", text)) => self.without = Some(text.to_owned()),
            Some(("module", text)) => self.module = Some(text.to_owned()),
            Some(_) => return None,
            None => {
                self.level = Some(match note {
                    "required" => Some(Level::Required),
                    "advised" => Some(Level::Advised),
                    "build" => None,
                    _ => return None,
                });
            }
        }
        Some(())
    }

    /// The need of the option below the notes; none for what only the build needs. The error
    /// names the missing line.
    fn need(self, option: String, expected: Expected) -> Result<Option<Need>, &'static str> {
        let Self { level, why, without, module } = self;
        let why = why.ok_or("why: ...")?;
        let Some(level) = level.ok_or("required, advised or build")? else { return Ok(None) };
        let without = without.ok_or("without: ...")?;
        Ok(Some(Need { option, expected, level, why, without, module }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Level, Need, Needs};
    use crate::kernel::config::Value;

    #[test]
    fn a_need_has_its_reasons_above_it() {
        let text = "\
# about the file
#@ required
#@ why: the core
#@ without: nothing loads
#@ module: loaded early
CONFIG_BPF=y

#@ build
#@ why: a menu
CONFIG_MENU=y
# CONFIG_OTHER is not set

#@ advised
#@ why: names the list: in order
#@ without: less
#@ list: CONFIG_LSM has bpf
";
        let need = |option: &str, expected, level| Need {
            option: option.to_owned(),
            expected,
            level,
            why: String::new(),
            without: String::new(),
            module: None,
        };
        let expected = [
            Need {
                why: "the core".to_owned(),
                without: "nothing loads".to_owned(),
                module: Some("loaded early".to_owned()),
                ..need("BPF", Expected::Value(Value::Yes), Level::Required)
            },
            Need {
                why: "names the list: in order".to_owned(),
                without: "less".to_owned(),
                ..need("LSM", Expected::Item("bpf".to_owned()), Level::Advised)
            },
        ];
        assert_eq!(Needs::parse(text).unwrap().0, expected);
    }

    #[test]
    fn an_option_without_reasons_is_refused() {
        let refused = |text: &str| Needs::parse(text).unwrap_err().to_string();
        let whole = ["#@ required", "#@ why: w", "#@ without: x", "CONFIG_A=y"];
        assert!(Needs::parse(&whole.join("\n")).is_ok());
        for (left_out, missing) in
            ["required, advised or build", "why: ...", "without: ..."].into_iter().enumerate()
        {
            let mut lines = whole.to_vec();
            lines.remove(left_out);
            let expected = format!("line 3: CONFIG_A=y has no `#@ {missing}` line above it");
            assert_eq!(refused(&lines.join("\n")), expected);
        }
        assert_eq!(refused("#@ must"), "line 1: `#@ must` is none of the known kinds");
        assert_eq!(refused("#@ list: B"), "line 1: `#@ list: B` is none of the known kinds");
        assert_eq!(refused("#@ how: so"), "line 1: `#@ how: so` is none of the known kinds");
    }

    #[test]
    fn reasons_do_not_carry_over_to_the_next_option() {
        let text = "#@ build\n#@ why: w\nCONFIG_A=y\nCONFIG_B=y\n";
        let error = Needs::parse(text).unwrap_err().to_string();
        assert!(error.starts_with("line 4: CONFIG_B=y"), "{error}");
    }
}
