// SPDX-License-Identifier: Apache-2.0
//! What the kernel's hooks show of an attempt: all that rules and options may look at.
//!
//! Whoever watches an attempt (the [world model](crate::world), a test) makes the events; the
//! [reference decision](crate::eval::judge) reads them. Nothing is decided here.

use std::fmt;

use crate::{object::Directory, path::RulePath};

/// A file or directory as a hook sees it. The default is one of which nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of an inode and its mount")]
pub struct File {
    /// Name of its place, as the container's rules write it. None for what has no name (memfd,
    /// deleted files) and on file systems that the container had not when the rules were applied.
    pub path: Option<RulePath>,
    /// Paths of rules under which the inode, or an equal content, was found when they were applied;
    /// ascending.
    pub identities: Vec<RulePath>,
    /// Directories of Block rules in which the inode was found as a program then; ascending.
    pub programs: Vec<Directory>,
    /// Names that it had when the rules were applied and that rules permit to be executed, if it had
    /// more than one; ascending.
    pub permitted: Vec<RulePath>,
    /// The subject opened it for writing.
    pub tainted: bool,
    /// No name leads to it.
    pub unlinked: bool,
    /// Its file system was none of the container's mounts when the rules were applied.
    pub foreign: bool,
    /// It lies on a mount of the kernel's own: a memfd, a layer behind an overlay's file.
    pub internal: bool,
    /// Some user may execute it.
    pub executable: bool,
    /// It is a directory.
    pub directory: bool,
    /// It is neither that nor a regular file of a file system: a device, or what the kernel made of
    /// memory. To map it is to map memory.
    pub irregular: bool,
    /// It is the program that the task executes, or its script: what its exec was decided on; or, while
    /// execve opens it, what lies behind that.
    pub executed: bool,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Open {
    /// By execve or as a program's interpreter.
    pub exec: bool,
    /// For writing.
    pub write: bool,
    /// It is the memory of a process, `/proc/*/mem`.
    pub memory: bool,
}

/// A map that is or becomes executable.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a map")]
pub struct Map {
    /// What is mapped; none for anonymous memory.
    pub file: Option<File>,
    /// An old map is changed (`file_mprotect`); else a new one is made (`mmap_file`).
    pub protect: bool,
    /// Its writes do not reach the file.
    pub private: bool,
    /// It is writable at the same time.
    pub writable: bool,
    /// Pages of it were written (`anon_vma`).
    pub modified: bool,
    /// The file is the one behind that of an overlay (`mmap_backing_file`).
    pub behind: bool,
}

/// What changes at the name of a file, beside [`Event::Rename`] and [`Event::Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// `path_unlink`
    Unlink,
    /// `path_rmdir`
    Rmdir,
    /// `path_mknod`: what creates a regular file, too.
    Mknod,
    /// `path_mkdir`
    Mkdir,
    /// `path_symlink`
    Symlink,
    /// `path_truncate`: of truncate(2), not of an open.
    Truncate,
    /// `path_chmod`
    Chmod,
    /// `path_chown`
    Chown,
}

/// One call of a hook, for a task that rules hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// `bprm_check_security`, once for each program of a chain of `#!`; and, for what rules on
    /// arguments speak of, `bprm_committed_creds`. With the arguments, if they are known.
    Exec(File, Option<Vec<String>>),
    /// `file_open`
    Open(File, Open),
    /// `mmap_file` or `file_mprotect`, if executable.
    Map(Map),
    /// `path_rename`
    Rename {
        /// What is moved.
        old: File,
        /// The new place, with what lies there.
        new: File,
        /// `RENAME_EXCHANGE`
        exchange: bool,
    },
    /// `path_link`
    Link {
        /// What gets a second name.
        old: File,
        /// The second name.
        new: File,
    },
    /// Another change of a name.
    Name(Change, File),
    /// `sb_mount` or `move_mount`, of a mount that is new at this place.
    Mount {
        /// The place.
        at: File,
        /// It came detached (`move_mount`).
        moved: bool,
    },
    /// `sb_kern_mount`: a file system of this type is brought up.
    KernMount(&'static str),
    /// `capable`, of CAP_SYS_ADMIN.
    SysAdmin,
    /// `userns_create`
    UserNamespace,
    /// `ptrace_access_check`
    PtraceAccess {
        /// Of a process outside the container.
        stranger: bool,
        /// To write, not only to look.
        attach: bool,
    },
    /// `ptrace_traceme`
    PtraceTraceme,
}

// === impl File ===

impl File {
    /// A place where nothing lies yet.
    #[must_use]
    pub fn place(path: Option<RulePath>) -> Self {
        Self { path, ..Self::default() }
    }
}

// === impl Change ===

impl Change {
    /// Kernel name of its hook.
    #[must_use]
    pub fn hook(self) -> &'static str {
        match self {
            Self::Unlink => "path_unlink",
            Self::Rmdir => "path_rmdir",
            Self::Mknod => "path_mknod",
            Self::Mkdir => "path_mkdir",
            Self::Symlink => "path_symlink",
            Self::Truncate => "path_truncate",
            Self::Chmod => "path_chmod",
            Self::Chown => "path_chown",
        }
    }
}

// === impl Event ===

impl Event {
    /// Kernel name of the hook.
    #[must_use]
    pub fn hook(&self) -> &'static str {
        match self {
            Self::Exec(..) => "bprm_check_security",
            Self::Open(..) => "file_open",
            Self::Map(Map { behind: true, .. }) => "mmap_backing_file",
            Self::Map(Map { protect: true, .. }) => "file_mprotect",
            Self::Map(_) => "mmap_file",
            Self::Rename { .. } => "path_rename",
            Self::Link { .. } => "path_link",
            Self::Name(change, _) => change.hook(),
            Self::Mount { moved: true, .. } => "move_mount",
            Self::Mount { .. } => "sb_mount",
            Self::KernMount(_) => "sb_kern_mount",
            Self::SysAdmin => "capable",
            Self::UserNamespace => "userns_create",
            Self::PtraceAccess { .. } => "ptrace_access_check",
            Self::PtraceTraceme => "ptrace_traceme",
        }
    }

    /// The file that it is about: of two, the old one.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::Exec(file, _)
            | Self::Open(file, _)
            | Self::Name(_, file)
            | Self::Rename { old: file, .. }
            | Self::Link { old: file, .. }
            | Self::Mount { at: file, .. } => Some(file),
            Self::Map(map) => map.file.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |file: &File| file.path.as_ref().map_or("?".into(), ToString::to_string);
        f.write_str(self.hook())?;
        match self {
            Self::Rename { old, new, exchange } => {
                let arrow = if *exchange { "<->" } else { "->" };
                write!(f, "({} {arrow} {})", name(old), name(new))
            }
            Self::Link { old, new } => write!(f, "({} -> {})", name(old), name(new)),
            _ => match self.file() {
                Some(file) => write!(f, "({})", name(file)),
                None => Ok(()),
            },
        }
    }
}
