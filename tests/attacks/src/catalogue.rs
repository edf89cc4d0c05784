// SPDX-License-Identifier: Apache-2.0
//! The ways around a rule on a program: names, steps, needs. How each is gone is the driver's.

use serde::Serialize;

/// What a way belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// No way around: the target itself. Every rule must stop it.
    Control,
    /// The 37 ways.
    Ways,
    /// Ways beyond them, for rules that already stop many.
    More,
    /// Code made in memory, as just-in-time compilers do: no rule on a program speaks of it.
    Code,
}

/// What has to happen between a way's two phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// The rules come into force.
    Rules,
    /// The kernel forgets the inodes that nobody holds.
    Eviction,
}

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it belongs to.
    pub set: Set,
    /// What it does.
    pub steps: &'static str,
    /// What happens in its middle, if it has two phases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between: Option<Between>,
    /// Whether the code comes from outside: the target's own file is never read.
    pub foreign: bool,
    /// The signal by which a denial may show: the kernel found out when the old program was gone. Any
    /// other death is no denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dies: Option<i32>,
}

const SIGSEGV: i32 = 11;

// === impl Entry ===

impl Entry {
    const fn new(set: Set, (id, name): (&'static str, &'static str), steps: &'static str) -> Self {
        Self { id, name, set, steps, between: None, foreign: false, dies: None }
    }

    const fn foreign(self) -> Self {
        Self { foreign: true, ..self }
    }

    const fn dies(self, signal: i32) -> Self {
        Self { dies: Some(signal), ..self }
    }

    const fn between(self, between: Between) -> Self {
        Self { between: Some(between), ..self }
    }

    /// The one of this id.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        ALL.iter().chain(CODE).find(|entry| entry.id.eq_ignore_ascii_case(id))
    }
}

const fn control(id: &'static str, name: &'static str, steps: &'static str) -> Entry {
    Entry::new(Set::Control, (id, name), steps)
}

const fn way(id: &'static str, name: &'static str, steps: &'static str) -> Entry {
    Entry::new(Set::Ways, (id, name), steps)
}

const fn more(id: &'static str, name: &'static str, steps: &'static str) -> Entry {
    Entry::new(Set::More, (id, name), steps)
}

const fn code(id: &'static str, name: &'static str, steps: &'static str) -> Entry {
    Entry::new(Set::Code, (id, name), steps).foreign()
}

/// All ways to the target, in the order of the table. T is the target, x a fresh name, M an empty directory,
/// A an allowed program.
pub const ALL: &[Entry] = &[
    control("C1", "direct", "run T"),
    control("C2", "direct-script", "run the script T"),
    way("B01", "mv-file", "rename T to x; run x"),
    way("B02", "cp-file", "copy T to x by read and write, copy_file_range, sendfile; run x"),
    way("B03", "ln", "link T to x; run x"),
    way("B04", "ln-s", "symlink T to x; run x"),
    way("B05", "mv-parent", "rename the directory of T; run it there"),
    way("B06", "mv-grandparent", "rename the directory above; run T there"),
    way("B07", "xchg-file", "create x; exchange x and T; run x"),
    way("B08", "xchg-dir", "make a directory; exchange it with that of T; run T there"),
    way("B09", "bind-file", "bind T on x; run x"),
    way("B10", "bind-dir", "bind the directory of T on M; run T there"),
    way("B11", "bind-mv", "B10; rename T in M; run it"),
    way("B12", "bind-ln", "B10; link T in M; run the link"),
    way("B13", "bind-cp", "B10; copy T out of M; run the copy"),
    way("B14", "overlay-mount", "mount an overlay with T's directory below on M; run T there"),
    way("B15", "chroot", "chroot to the directory above T's; run T"),
    way("B16", "ld.so", "run the dynamic loader with T as argument"),
    way("B17", "memfd", "copy T to a memfd; execute that"),
    way("B18", "o_tmpfile", "copy T to an unnamed file; link it to x; run x"),
    way("B19", "linkat-opath", "open T with O_PATH; link the descriptor to x; run x"),
    way("B20", "proc-root", "run /proc/self/root/T"),
    way("B21", "fexecve-opath", "open T with O_PATH; execute the descriptor"),
    way("B22", "file-handle", "open T by its handle; execute the descriptor"),
    way("B23", "cat-copy", "cat T to x; chmod x; run x"),
    way("B24", "tar-copy", "pack T with tar, unpack it elsewhere; run that"),
    way("B25", "overwrite-allowed", "cat T over A; run A"),
    way("B26", "image-hardlink", "run a second hard link that the image ships"),
    way("B27", "image-copy", "run an equal file that the image ships"),
    way("B28", "byo-copy", "write equal bytes from elsewhere to x; run x").foreign(),
    way("B29", "pre-opened-fd", "open T; once rules are in force copy it to x; run x")
        .between(Between::Rules),
    way("B30", "anon-exec", "read T into memory; make that executable; jump"),
    way("B31", "mmap-exec", "map T executable; jump"),
    way("B32", "unshare-m", "unshare the mount namespace; run T"),
    way("B33", "unshare-p", "unshare the pid namespace; fork; run T"),
    way("B34", "script-arg", "sh with the script T as argument"),
    way("B35", "script-stdin", "sh with the script T as input"),
    way("B36", "script-pipe", "cat the script T into sh"),
    way("B37", "script-byo", "sh with an equal script from elsewhere").foreign(),
    more("S1", "map-then-protect", "map T readable; make the map executable; jump"),
    more("S2", "overlay-ld.so", "mount as B14; run the loader with T there, or map it"),
    more("S3", "interpreter-elf", "run an ELF whose PT_INTERP is T").dies(SIGSEGV),
    more("S4", "interpreter-script", "run a file that starts with #!T"),
    more("S5", "patch-map", "map A privately; store T's bytes; make it executable; jump").foreign(),
    more("S6", "patch-wx-map", "map A privately, writable and executable; store; jump").foreign(),
    more("S7", "proc-mem", "write T's code over the own text by /proc/self/mem; call it").foreign(),
    more("S8", "ptrace-poke", "write T's code into a child that runs A, by ptrace").foreign(),
    more("S9", "map-own-copy", "map a copy of T from elsewhere as S1; jump").foreign(),
    more("S10", "shared-map-copy", "write a copy of T through a shared map; run it").foreign(),
    more("S11", "detached-bind", "clone the tree of T's directory, unattached; execute T in it"),
    more("S12", "detached-overlay", "overlay T's directory, unattached; execute T in it"),
    more("S13", "detached-overlay-ld.so", "S12, but run the loader with T in it"),
    more("S14", "uring-rename", "rename T to x by io_uring; run x"),
    more("S15", "uring-link", "link T to x by io_uring; run x"),
    more("S16", "copy-up-chmod", "chmod T, which has two links; evict it; run it")
        .between(Between::Eviction),
    more("S17", "copy-up-mv", "rename T, which has two links; evict it; run it")
        .between(Between::Eviction),
    more("S18", "lost-taint", "write x from elsewhere; link y; unlink x; evict; run y")
        .foreign()
        .between(Between::Eviction),
];

/// Ways to code in memory, and to that of a file. They need no target.
pub const CODE: &[Entry] = &[
    code("M1", "write-then-exec", "map memory; write code; make it executable; jump"),
    code("M2", "anonymous-rwx", "map memory writable and executable; write code; jump"),
    code("M3", "shared-rwx", "M2, with memory that children share"),
    code("M4", "zero-device", "M3, with a map of /dev/zero"),
    code("M5", "sysv-segment", "M2, with a segment that is attached executable"),
    code("M6", "memfd-map", "M3, with a map of a memfd"),
    code("M7", "ring-entries", "M3, with the entries of an io_uring"),
    code("M8", "implied", "let what is readable be executable; map memory; write code; jump"),
    code("M9", "implied-heap", "M8, with the heap"),
    code("M10", "map-program", "map A executable; jump"),
    code("M11", "protect-program", "map A readable; make the map executable; jump"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn count(set: Set) -> usize {
        ALL.iter().filter(|entry| entry.set == set).count()
    }

    #[test]
    fn there_are_37_ways_and_18_more_under_one_id_each() {
        assert_eq!([Set::Control, Set::Ways, Set::More].map(count), [2, 37, 18]);
        for (number, entry) in ALL.iter().filter(|entry| entry.set == Set::Ways).enumerate() {
            assert_eq!(entry.id, format!("B{:02}", number + 1));
        }
        for (number, entry) in ALL.iter().filter(|entry| entry.set == Set::More).enumerate() {
            assert_eq!(entry.id, format!("S{}", number + 1));
        }
        assert_eq!(Entry::find("b07").map(|entry| entry.name), Some("xchg-file"));
        assert_eq!(Entry::find("B7"), None);
        for (number, entry) in CODE.iter().enumerate() {
            assert_eq!((entry.id, entry.set), (&*format!("M{}", number + 1), Set::Code));
        }
        assert_eq!(Entry::find("m11").map(|entry| entry.name), Some("protect-program"));
    }
}
