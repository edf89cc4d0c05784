// SPDX-License-Identifier: Apache-2.0
//! How specific a match is: the first half of the order of rules.

use crate::{object::Object, rule::Rule};

/// Where in the order an object stands; greater is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A directory of this depth: the deepest wins, recursive or not.
    Directory(u16),
    /// A base name.
    ExecName,
    /// A pattern.
    Pattern,
    /// A path, an applet, a content, or an object without a path.
    Exact,
}

/// Specificity of a match: a rule for the acting executable beats a generic one, whatever their
/// objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rank {
    /// The rule names sources.
    pub sourced: bool,
    /// Place of its object.
    pub place: Place,
}

// === impl Place ===

impl Place {
    /// Place of an object.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        match object {
            Object::Directory(directory) => {
                Self::Directory(u16::try_from(directory.path.depth()).unwrap_or(u16::MAX))
            }
            Object::ExecName(_) => Self::ExecName,
            Object::Automaton(_) => Self::Pattern,
            _ => Self::Exact,
        }
    }
}

// === impl Rank ===

impl Rank {
    /// Rank of a match of this rule.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        Self { sourced: !rule.sources.is_empty(), place: Place::of(&rule.object) }
    }

    /// A number that orders as the rank does, for the kernel: bit 31 = sourced, bits 16.. = kind,
    /// low bits = depth.
    #[must_use]
    pub fn encode(self) -> u32 {
        let place = match self.place {
            Place::Directory(depth) => u32::from(depth),
            Place::ExecName => 1 << 16,
            Place::Pattern => 2 << 16,
            Place::Exact => 3 << 16,
        };
        u32::from(self.sourced) << 31 | place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_ranks_keep_the_order() {
        let places = [
            Place::Directory(0),
            Place::Directory(9),
            Place::ExecName,
            Place::Pattern,
            Place::Exact,
        ];
        let ranks: Vec<_> = [false, true]
            .into_iter()
            .flat_map(|sourced| places.map(|place| Rank { sourced, place }))
            .collect();
        assert!(ranks.is_sorted());
        assert!(ranks.iter().map(|rank| rank.encode()).is_sorted());
    }
}
