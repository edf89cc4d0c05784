// SPDX-License-Identifier: Apache-2.0
//! Where Kubernetes objects come from.
//!
//! Owns the policy directory: its files flow in, batches of changes and the list of what is refused
//! flow out. A document that becomes malformed never takes away what its last good version said.
//! It judges objects by their schema only; what they mean is for the pipeline.

mod concern;
mod directory;
mod files;
mod parse;

use std::fmt;

use kubesmith::{
    crd::{Object, ObjectRef, Selector},
    select::Namespaces,
};

pub use directory::{PolicyDir, WatchError};
pub use files::{Files, ignored, read_all};

/// What changed at once, and everything that is refused now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Changes of objects.
    pub changes: Vec<Change>,
    /// All refusals that stand after these changes.
    pub refusals: Vec<Refusal>,
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New, or another version.
    Put {
        /// The object.
        object: Object,
        /// Where it was read.
        origin: String,
    },
    /// No longer there.
    Gone(ObjectRef),
}

/// A document that is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub origin: String,
    /// Where in it.
    pub position: Position,
    /// The object, as far as it can be told.
    pub object: Option<ObjectRef>,
    /// What is wrong and what to do.
    pub message: String,
    /// Which containers get no new rules until it is mended.
    pub scope: Scope,
}

/// Where in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Number of the document, from 1, empty ones not counted; none for the file as a whole.
    pub document: Option<usize>,
    /// Number of the item, from 1, of the list that the document is, and of lists in it.
    pub items: Vec<usize>,
}

/// The containers that a refused document might be about. They get no new rules: an absent policy
/// must not pass for one that permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None: it is no policy, or its last good version is in force.
    Nothing,
    /// Those that the selector takes, in these namespaces.
    Pods {
        /// Namespaces that it may be about.
        namespaces: Namespaces,
        /// Its selector.
        selector: Selector,
    },
    /// All: it cannot be told.
    Everything,
}

// === impl Change ===

impl Change {
    /// The object that changed.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::Put { object, .. } => object.reference(),
            Self::Gone(object) => object.clone(),
        }
    }
}

// === impl Refusal ===

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(document) = self.position.document {
            write!(f, "document {document}: ")?;
        }
        for item in &self.position.items {
            write!(f, "item {item}: ")?;
        }
        f.write_str(&self.message)
    }
}
