// SPDX-License-Identifier: Apache-2.0
//! What a process can try, and why the kernel may refuse without any rule.

use super::{Content, FileId, MountId, ProcessId};
use crate::path::RulePath;

/// How a process names a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// From its root. `/proc/self/root` leads there too.
    Path(RulePath),
    /// By an open file: `/proc/self/fd/N`, `AT_EMPTY_PATH`.
    Open(FileId),
    /// From the root of a mount that is attached nowhere.
    Tree(MountId, RulePath),
}

/// Memory that gets bytes to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Memory {
    /// Anonymous memory, written and then made executable.
    Anonymous,
    /// Anonymous memory that is writable and executable from the start, also because the process's
    /// personality has all that is readable executable.
    AtOnce,
    /// The same, shared with children.
    Shared,
    /// The same, from a device that gives memory: `/dev/zero`.
    Device,
    /// A segment of System V, or a file of `memfd_create`, mapped so.
    Segment,
    /// What the kernel shares with the process: the entries of an io_uring.
    Ring,
    /// The heap of a process whose personality has all that is readable executable: brk(2) asks no hook.
    Heap,
    /// A file that exists only in memory, `memfd_create`.
    Memfd,
    /// Its own text, through `/proc/self/mem`.
    OwnMemory,
    /// The text of a child that asked to be traced.
    TracedChild,
    /// The text of another process of the container that it attaches to.
    Other(ProcessId),
}

/// Where an interpreter gets its text from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bytes {
    /// A file that it opens.
    File(At),
    /// A file that is open already.
    Open(FileId),
    /// What it was sent, or has read before.
    Memory(Content),
}

/// How a content was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// From an executable map of a file that holds it.
    File,
    /// From memory that no file backs.
    Memory,
    /// By an interpreter that read it.
    Interpreted,
}

/// One thing that a process tries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Another process, with the same memory and open files.
    Fork,
    /// Executes a program, by name or by an open file.
    Exec(At),
    /// Maps a file as a program, as `ld.so PROGRAM` and dlopen(3) do.
    Load(At),
    /// Maps a file for reading, then makes the map executable.
    MapThenProtect(At),
    /// Makes executable what it has in memory.
    Inject(Content, Memory),
    /// Writes what it has in memory over a private map of a file, then makes the map executable.
    ModifyMap(Content, At),
    /// Writes what it has in memory into a private map of a file that is writable and executable.
    WritableMap(Content, At),
    /// Lets an interpreter run a text.
    Interpret(Bytes),
    /// Opens by a handle, not by a name, and executes.
    Handle(At),
    /// rename(2)
    Rename(At, RulePath),
    /// renameat2(2) with RENAME_EXCHANGE
    Exchange(RulePath, RulePath),
    /// link(2), or linkat(2) of an open file.
    Link(At, RulePath),
    /// symlink(2) at the second path.
    Symlink(RulePath, RulePath),
    /// unlink(2)
    Unlink(RulePath),
    /// mkdir(2)
    Mkdir(RulePath),
    /// rmdir(2)
    Rmdir(RulePath),
    /// chmod(2): makes it executable, and copies it up.
    Chmod(At),
    /// Reads it all.
    Read(At),
    /// Reads from an open file.
    ReadOpen(FileId),
    /// Gets bytes from outside into memory: a download, standard input.
    Receive(Content),
    /// Gives what it has in memory to another process, by a pipe.
    Send(ProcessId, Content),
    /// Creates or overwrites a file with what it has in memory.
    Write(RulePath, Content),
    /// Creates or overwrites a file with bytes from outside.
    Obtain(RulePath, Content),
    /// Writes to an open file what it has in memory.
    WriteOpen(FileId, Content),
    /// Reads one file and writes the other, as cp(1) does.
    Copy(At, RulePath),
    /// Opens for reading and keeps it open.
    Open(At),
    /// O_PATH
    OpenPath(At),
    /// O_TMPFILE in this directory.
    OpenUnnamed(RulePath),
    /// Binds one place on another.
    Bind(At, RulePath),
    /// Mounts an overlay of this directory here.
    Overlay(At, RulePath),
    /// Mounts an empty file system here.
    Cover(RulePath),
    /// `open_tree(OPEN_TREE_CLONE)`: a mount that is attached nowhere.
    CloneTree(At),
    /// `fsopen` and `fsmount` of an overlay, attached nowhere.
    DetachedOverlay(At),
    /// `move_mount` of a tree that is attached nowhere.
    Attach(MountId, RulePath),
    /// Mounts a file system of this type, whose content others chose.
    MountType(&'static str, RulePath),
    /// chroot(2)
    Chroot(At),
    /// unshare(2) of mount, pid or other namespaces.
    Unshare,
    /// unshare(2) of the user namespace: all capabilities over what is made in it.
    UnshareUser,
    /// Not an action of a process: caches are dropped.
    Evict,
}

/// Why an action is not possible, whatever rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Obstacle {
    /// ENOENT
    #[error("there is no such file")]
    Missing,
    /// EEXIST
    #[error("there is a file already")]
    Exists,
    /// ENOTDIR, EISDIR, EINVAL
    #[error("it is of the wrong kind")]
    WrongKind,
    /// ELOOP
    #[error("too many symbolic links")]
    Loop,
    /// EXDEV
    #[error("it lies on another file system or layer")]
    CrossDevice,
    /// EROFS
    #[error("the mount is read-only")]
    ReadOnly,
    /// EPERM, EACCES
    #[error("the process lacks a privilege")]
    NotPermitted,
    /// EACCES without the x-bit or on a mount without exec, ENOEXEC.
    #[error("it cannot be executed")]
    NotExecutable,
    /// ENOTEMPTY, EBUSY
    #[error("it is in use")]
    Busy,
    /// EOPNOTSUPP
    #[error("the file system does not support it")]
    NotSupported,
    /// The process has not read these bytes.
    #[error("the process does not have these bytes")]
    NoBytes,
}
