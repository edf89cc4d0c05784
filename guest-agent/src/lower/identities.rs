// SPDX-License-Identifier: Apache-2.0
//! What rules hold by identity: what they call it, not where it is now.

use std::{collections::BTreeMap, fmt};

use policy_model::{Match, Object, RulePath, RuleSet};

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
pub fn identities_of(rules: &RuleSet) -> BTreeMap<Identity, Vec<usize>> {
    let mut found: BTreeMap<Identity, Vec<usize>> = BTreeMap::new();
    for (index, rule) in rules.rules().iter().enumerate() {
        let identity = match &rule.object {
            Object::Path(object) if object.matching == Match::Identity => {
                Identity::Path(object.path.clone())
            }
            Object::Applet { binary, .. } => Identity::Binary(binary.clone()),
            Object::Content { sha256, size } => Identity::Content { sha256: *sha256, size: *size },
            _ => continue,
        };
        found.entry(identity).or_default().push(index);
    }
    found
}
