// SPDX-License-Identifier: Apache-2.0
//! A small model of a container as an attacker sees it, for judging rule sets without a kernel.
//!
//! A [`World`] is made by an [`Image`]; [`World::apply`] puts a rule set into force;
//! [`World::perform`] tells which hooks an [`Action`] passes and what it leaves; and
//! [`World::attempt`] lets the [reference decision](crate::eval::judge) speak at each hook.
//! It holds inodes with content, taint and identities; names as dentries, which follow renames as
//! the kernel's do; mounts, overlays and detached trees; and processes with memory and descriptors.
//! All tables are shared between clones until one writes, so that a search may keep many worlds.
//! Pure and ordered: equal worlds are equal, and nothing depends on time or chance.
//!
//! What it leaves out: owners beyond root and others, quotas, concurrency, sockets, and the
//! contents of files but for their equality.

mod action;
mod apply;
mod attempt;
mod image;
mod memory;
mod mount;
mod names;
mod perform;
mod program;
mod scene;
mod tree;
pub mod ways;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use action::{Action, At, Bytes, Memory, Obstacle, Strength};
pub use attempt::{Attempt, Denial};
pub use image::{Image, RootKind};
pub use perform::{Ran, Step};

use crate::{eval::Actor, object::Directory, path::RulePath, rule::Source};

macro_rules! ids {
    ($($name:ident, $doc:literal;)+) => {
        $(#[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) usize);)+
    };
}

ids! {
    SuperId, "A super block.";
    InodeId, "An inode.";
    DentryId, "A name of an inode, which stays itself when it is moved.";
    MountId, "A mount.";
    ProcessId, "A process.";
    FileId, "An open file of a process.";
}

/// What a file holds. Equal numbers are equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// Which bytes.
    pub number: u32,
    /// What the kernel makes of them.
    pub form: Form,
}

/// What the kernel makes of the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// An ELF program, with its `PT_INTERP` if it has one.
    Program(Option<RulePath>),
    /// A text that begins with `#!` and this path.
    Script(RulePath),
    /// Nothing that can be executed.
    Data,
}

/// What a process may do beyond its own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Privilege {
    /// Write anywhere: root's files are its own.
    Root,
    /// CAP_SYS_ADMIN
    Mount,
    /// CAP_SYS_CHROOT
    Chroot,
    /// CAP_DAC_READ_SEARCH
    Handle,
    /// Make user namespaces, which need no capability.
    UserNamespace,
}

/// A container and its processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct World {
    supers: Arc<Vec<SuperBlock>>,
    inodes: Arc<Vec<Inode>>,
    dentries: Arc<Vec<Dentry>>,
    children: Arc<BTreeMap<(DentryId, Arc<str>), DentryId>>,
    mounts: Arc<Vec<Mount>>,
    processes: Arc<Vec<Process>>,
    /// The container's mounts when the rules were applied.
    known: Arc<Vec<KnownMount>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct SuperBlock {
    kind: SuperKind,
    root: DentryId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum SuperKind {
    Plain,
    Overlay,
    /// Files whose other side others can change: an inode is known as long as somebody holds it.
    VirtioFs,
    /// The kernel's own: memfd, layers that are mounted nowhere.
    Internal,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Inode {
    super_block: SuperId,
    kind: Kind,
    executable: bool,
    /// The subject opened it for writing.
    tainted: bool,
    /// Paths of rules that hold it by identity.
    held: BTreeSet<RulePath>,
    /// Directories of Block rules in which it was found as a program.
    programs: BTreeSet<Directory>,
    /// Sources that it was found as.
    sources: BTreeSet<Source>,
    /// Names that it had when the rules were applied, and that they permit to be executed.
    permitted: BTreeSet<RulePath>,
    /// Of an overlay's file, what it shows.
    backing: Option<Backing>,
    /// Anybody may write to it.
    public: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// `merged`: of an overlay and also in a lower layer, so that it cannot be renamed.
    Directory {
        merged: bool,
    },
    Link(RulePath),
    File(Content),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Backing {
    inode: InodeId,
    /// Its name, if it lies on a super block with names in the world.
    dentry: Option<DentryId>,
    /// In a lower layer: a write copies it up.
    lower: bool,
    /// The lower file had several names, so that after a copy-up the overlay's inode gets another
    /// number once it was evicted.
    split: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Dentry {
    /// None for the root of a super block.
    up: Option<(DentryId, Arc<str>)>,
    inode: InodeId,
    /// A look-up finds it. What was unlinked keeps its old place, as in the kernel.
    linked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Mount {
    super_block: SuperId,
    root: DentryId,
    /// Where it is attached; none for the root of all, and for detached trees.
    at: Option<Spot>,
    read_only: bool,
    no_exec: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct KnownMount {
    super_block: SuperId,
    root: DentryId,
    point: RulePath,
}

/// A dentry as seen through a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Spot {
    mount: MountId,
    dentry: DentryId,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Process {
    /// Name of its executable when it was executed.
    exe: Option<RulePath>,
    /// What it executes.
    image: Option<InodeId>,
    /// Sources that this is held as.
    acts_as: Vec<Source>,
    /// What its script and executable were held for then.
    executed: BTreeSet<BTreeSet<RulePath>>,
    root: Spot,
    privileges: BTreeSet<Privilege>,
    /// Contents that it has read.
    memory: BTreeSet<Content>,
    open: Vec<OpenFile>,
    /// It left the namespaces that it was started in.
    unshared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct OpenFile {
    spot: Spot,
    readable: bool,
    writable: bool,
}

// === impl Content ===

impl Content {
    /// A static program.
    #[must_use]
    pub fn program(number: u32) -> Self {
        Self { number, form: Form::Program(None) }
    }

    /// A program that needs this one to be loaded.
    #[must_use]
    pub fn interpreted_by(number: u32, interpreter: RulePath) -> Self {
        Self { number, form: Form::Program(Some(interpreter)) }
    }

    /// A script.
    #[must_use]
    pub fn script(number: u32, interpreter: RulePath) -> Self {
        Self { number, form: Form::Script(interpreter) }
    }

    /// Data.
    #[must_use]
    pub fn data(number: u32) -> Self {
        Self { number, form: Form::Data }
    }
}

// === impl World ===

impl World {
    /// Name of a process's executable when it was executed.
    ///
    /// # Panics
    /// If there is no such process.
    #[must_use]
    pub fn exe(&self, who: ProcessId) -> Option<&RulePath> {
        self.process(who).exe.as_ref()
    }

    /// What a process runs, as rules know it.
    ///
    /// # Panics
    /// If there is no such process.
    #[must_use]
    pub fn actor(&self, who: ProcessId) -> Actor<'_> {
        let Process { exe, acts_as, .. } = self.process(who);
        Actor { exe: exe.as_ref(), acts_as }
    }

    /// What lies at a path of the container's first process now.
    #[must_use]
    pub fn content_of(&self, path: &RulePath) -> Option<&Content> {
        let spot = self.resolve(ProcessId::FIRST, &At::Path(path.clone())).ok()?;
        self.content(self.inode_at(spot))
    }

    /// Whether a path of the container's first process leads to a directory.
    #[must_use]
    pub fn is_directory_at(&self, path: &RulePath) -> bool {
        let spot = self.resolve(ProcessId::FIRST, &At::Path(path.clone()));
        spot.is_ok_and(|spot| self.is_directory(self.inode_at(spot)))
    }

    /// The process that was made last.
    #[must_use]
    pub fn newest_process(&self) -> ProcessId {
        ProcessId(self.processes.len() - 1)
    }

    /// The file that a process opened last.
    ///
    /// # Panics
    /// If there is no such process.
    #[must_use]
    pub fn newest_file(&self, who: ProcessId) -> Option<FileId> {
        self.process(who).open.len().checked_sub(1).map(FileId)
    }

    /// The mount that was made last.
    #[must_use]
    pub fn newest_mount(&self) -> MountId {
        MountId(self.mounts.len() - 1)
    }
}
