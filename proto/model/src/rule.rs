// SPDX-License-Identifier: Apache-2.0
//! One rule of a rule set.

use crate::{
    ids::RuleId,
    object::{Directory, Match, Object},
    path::RulePath,
};

/// What kind of access a rule is about. Categories do not influence each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Execution of a program.
    Process,
    /// Access to a file.
    File,
    /// Use of a socket.
    Network,
    /// Look-up of a host name.
    Dns,
    /// Use of a capability.
    Capability,
    /// A system call.
    Syscall,
}

/// What a rule does with a match; greater wins among equally specific rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Permit; makes the category a whitelist.
    Allow,
    /// Permit and report.
    Audit,
    /// Deny and report.
    Block,
}

/// The acting executable that a rule is limited to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// One program.
    Path(RulePath),
    /// Any program of a directory.
    Directory(Directory),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Names the rule in events.
    pub id: RuleId,
    /// Kind of access.
    pub category: Category,
    /// Effect of a match.
    pub action: Action,
    /// What is accessed.
    pub object: Object,
    /// Who accesses it, ascending; empty for anybody. For exec it is the caller's executable
    /// before the exec.
    pub sources: Vec<Source>,
    /// Only the owner of the file passes.
    pub owner_only: bool,
    /// Only reading passes.
    pub read_only: bool,
    /// The rule acts only on tasks with a controlling terminal.
    pub no_tty: bool,
    /// Arguments that pass, ascending; empty for any. A Block or Audit rule matches unless all are
    /// among them, an Allow rule only then; see [`crate::arguments`].
    pub allowed_args: Vec<String>,
}

// === impl Source ===

impl Source {
    /// Whether this executable is meant.
    #[must_use]
    pub fn covers(&self, exe: &RulePath) -> bool {
        match self {
            Self::Path(path) => path == exe,
            Self::Directory(directory) => directory.covers(exe),
        }
    }
}

// === impl Rule ===

impl Rule {
    /// A rule without sources and attributes.
    #[must_use]
    pub fn new(id: RuleId, category: Category, action: Action, object: Object) -> Self {
        Self {
            id,
            category,
            action,
            object,
            sources: Vec::new(),
            owner_only: false,
            read_only: false,
            no_tty: false,
            allowed_args: Vec::new(),
        }
    }

    /// Whether it names programs that it permits, and not all that there are: what lies under its
    /// names is executed, so that is what a guard keeps.
    #[must_use]
    pub fn permits_programs(&self) -> bool {
        let names_some = match &self.object {
            Object::Path(object) => object.matching == Match::Name,
            Object::Directory(directory) => !directory.recursive || directory.path.depth() > 0,
            _ => false,
        };
        self.category == Category::Process && self.action == Action::Allow && names_some
    }

    /// Whether it permits what has this name to be executed, see [`Rule::permits_programs`].
    #[must_use]
    pub fn permits_program_at(&self, name: &RulePath) -> bool {
        let names = match &self.object {
            Object::Path(object) => object.path == *name,
            Object::Directory(directory) => directory.covers(name),
            _ => false,
        };
        names && self.permits_programs()
    }

    /// Puts everything that is a set into ascending order, without repetition.
    pub fn canonicalise(&mut self) {
        sort_set(&mut self.sources);
        sort_set(&mut self.allowed_args);
        match &mut self.object {
            Object::Applet { names, .. } => sort_set(names),
            Object::Syscall { numbers, .. } => sort_set(numbers),
            _ => {}
        }
    }
}

fn sort_set<T: Ord>(items: &mut Vec<T>) {
    items.sort_unstable();
    items.dedup();
}
