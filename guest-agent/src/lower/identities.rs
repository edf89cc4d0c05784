// SPDX-License-Identifier: Apache-2.0
//! What rules hold by identity: what they call it, not where it is now.

use std::{collections::HashMap, fmt};

use policy_model::{Match, Object, PathObject, Rule, RulePath, RuleSet};

/// What an inode is held for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// It was found under this name when the rules were applied, or has the content of what was.
    Path(RulePath),
    /// It was found so, and rules speak of its applets: however many names it has.
    Binary(RulePath),
    /// It has this content.
    Content {
        /// Hash of the content.
        sha256: [u8; 32],
        /// Its length.
        size: u64,
    },
}

// === impl Identity ===

impl Identity {
    /// Bytes that tell it from every other: a path begins with a slash, and has no NUL.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Path(path) => path.as_str().as_bytes().to_vec(),
            Self::Binary(path) => [path.as_str().as_bytes(), b"\0applets"].concat(),
            Self::Content { sha256, size } => [sha256.as_slice(), &size.to_le_bytes()].concat(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) | Self::Binary(path) => path.fmt(f),
            Self::Content { sha256, size } => {
                f.write_str("sha256:")?;
                sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, " of {size} bytes")
            }
        }
    }
}

/// Every identity of a rule set, with the indices of the rules that speak of it.
#[must_use]
pub fn identities_of(rules: &RuleSet) -> HashMap<Identity, Vec<usize>> {
    let mut found: HashMap<Identity, Vec<usize>> = HashMap::new();
    for (index, rule) in rules.rules().iter().enumerate() {
        if let Some(identity) = identity_of(rule) {
            found.entry(identity).or_default().push(index);
        }
    }
    found
}

/// Every identity of a rule set once, in order.
#[must_use]
pub fn sorted_identities_of(rules: &RuleSet) -> Vec<Identity> {
    let mut found: Vec<_> = rules.rules().iter().filter_map(identity_of).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a rule set holds anything by identity.
#[must_use]
pub fn has_identities(rules: &RuleSet) -> bool {
    rules.rules().iter().any(|rule| identity_of(rule).is_some())
}

fn identity_of(rule: &Rule) -> Option<Identity> {
    match &rule.object {
        Object::Path(PathObject { path, matching: Match::Identity }) => {
            Some(Identity::Path(path.clone()))
        }
        Object::Applet { binary, .. } => Some(Identity::Binary(binary.clone())),
        Object::Content { sha256, size } => {
            Some(Identity::Content { sha256: *sha256, size: *size })
        }
        _ => None,
    }
}
