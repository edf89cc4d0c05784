// SPDX-License-Identifier: Apache-2.0
//! What rules hold by identity: what they call it, not where it is now.

use std::{collections::HashMap, fmt};

use policy_model::{
    Action, Category, Directory, Match, Object, PathObject, Place, Rule, RulePath, RuleSet, Source,
};

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
    /// It was found so, rules permit what has this name to be executed, and it has others.
    Permitted(NamedFiles),
    /// It is a program that was found in this directory.
    Program {
        /// The directory.
        directory: Directory,
        /// What rules that are more specific than that on the directory speak of.
        but: Vec<NamedFiles>,
    },
    /// It was found so, or has the content of what was, and rules are about what it does.
    Source(NamedFiles),
}

/// Files by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamedFiles {
    /// One.
    One(RulePath),
    /// Those of a directory.
    In(Directory),
}

// === impl NamedFiles ===

impl NamedFiles {
    /// Whether a file of this name is meant.
    #[must_use]
    pub fn covers(&self, name: &RulePath) -> bool {
        match self {
            Self::One(path) => path == name,
            Self::In(directory) => directory.covers(name),
        }
    }

    fn is_below(&self, directory: &Directory) -> bool {
        let (Self::One(path) | Self::In(Directory { path, .. })) = self;
        path.below(&directory.path).is_some()
    }

    fn of(object: &Object) -> Option<Self> {
        match object {
            Object::Path(PathObject { path, matching: Match::Name }) => {
                Some(Self::One(path.clone()))
            }
            Object::Directory(directory) => Some(Self::In(directory.clone())),
            _ => None,
        }
    }

    fn key(&self) -> Vec<u8> {
        match self {
            Self::One(path) => path.as_str().as_bytes().to_vec(),
            Self::In(Directory { path, recursive, .. }) => {
                [path.as_str().as_bytes(), b"\0in", &[u8::from(*recursive)]].concat()
            }
        }
    }
}

impl From<Source> for NamedFiles {
    fn from(source: Source) -> Self {
        match source {
            Source::Path(path) => Self::One(path),
            Source::Directory(directory) => Self::In(directory),
        }
    }
}

impl fmt::Display for NamedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(path) => path.fmt(f),
            Self::In(Directory { path, .. }) => {
                write!(f, "{}/", path.as_str().trim_end_matches('/'))
            }
        }
    }
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
            Self::Permitted(named) => [&*named.key(), b"\0permitted"].concat(),
            Self::Program { directory, .. } => {
                [&*NamedFiles::In(directory.clone()).key(), b"\0program"].concat()
            }
            Self::Source(named) => [&*named.key(), b"\0source"].concat(),
        }
    }

    /// Whether one file has it by its name, or none.
    #[must_use]
    pub fn is_of_one_name(&self) -> bool {
        matches!(self, Self::Path(_) | Self::Binary(_) | Self::Source(NamedFiles::One(_)))
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
            Self::Permitted(named) | Self::Source(named) => named.fmt(f),
            Self::Program { directory, .. } => NamedFiles::In(directory.clone()).fmt(f),
        }
    }
}

/// Every identity of a rule set, with the indices of the rules that speak of it.
#[must_use]
pub fn identities_of(rules: &RuleSet) -> HashMap<Identity, Vec<usize>> {
    let mut found: HashMap<Identity, Vec<usize>> = HashMap::new();
    for (index, rule) in rules.rules().iter().enumerate() {
        for identity in identities_of_rule(rules, rule) {
            found.entry(identity).or_default().push(index);
        }
    }
    found
}

/// Every identity of a rule set once, in order.
#[must_use]
pub fn sorted_identities_of(rules: &RuleSet) -> Vec<Identity> {
    let mut found: Vec<_> =
        rules.rules().iter().flat_map(|rule| identities_of_rule(rules, rule)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a rule set holds anything by identity.
#[must_use]
pub fn has_identities(rules: &RuleSet) -> bool {
    rules.rules().iter().any(|rule| identities_of_rule(rules, rule).next().is_some())
}

/// Whether programs of a directory are held for this rule.
pub(super) fn holds_programs(rules: &RuleSet, rule: &Rule) -> bool {
    rules.options.hold
        && rule.action == Action::Block
        && rule.category == Category::Process
        && matches!(rule.object, Object::Directory(_))
}

fn identities_of_rule(rules: &RuleSet, rule: &Rule) -> impl Iterator<Item = Identity> + use<> {
    let keeps = rules.keeps_permitted() && rule.permits_programs();
    let permitted =
        if keeps { NamedFiles::of(&rule.object).map(Identity::Permitted) } else { None };
    let program = match &rule.object {
        Object::Directory(directory) if holds_programs(rules, rule) => {
            let (directory, but) = (directory.clone(), exceptions(rules, rule));
            Some(Identity::Program { directory, but })
        }
        _ => None,
    };
    let holds_sources = rules.options.hold && rule.action == Action::Block;
    let sources = rule.sources.iter().filter(|_| holds_sources);
    let sources = sources.map(|source| Identity::Source(source.clone().into()));
    let sources: Vec<_> = sources.collect();
    identity_of(rule).into_iter().chain(permitted).chain(program).chain(sources)
}

/// What more specific rules permit of a directory whose programs are held: there they decide.
fn exceptions(rules: &RuleSet, rule: &Rule) -> Vec<NamedFiles> {
    let Object::Directory(directory) = &rule.object else { return Vec::new() };
    let others = rules.rules().iter().filter(|other| {
        other.category == rule.category
            && other.action != Action::Block
            && Place::of(&other.object) > Place::of(&rule.object)
    });
    let named = others.filter_map(|other| NamedFiles::of(&other.object));
    let mut named: Vec<_> = named.filter(|named| named.is_below(directory)).collect();
    named.sort_unstable();
    named.dedup();
    named
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
