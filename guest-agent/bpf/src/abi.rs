// SPDX-License-Identifier: Apache-2.0
//! Mirror of `lib/abi.h`: see there for the meaning of each field.
//!
//! `tests/layout.rs` compares sizes and offsets with what clang wrote into the object's BTF.
#![allow(missing_docs, reason = "documented in lib/abi.h")]

pub const MAX_SLOTS: u32 = 256;
pub const MAX_NODES: u32 = 2_097_152;
pub const MAX_DECISIONS: u32 = 1_048_576;
pub const MAX_SUBJECTS: u32 = 262_144;
pub const MAX_INODES: u32 = 262_144;
pub const MAX_TAINTS: u32 = 262_144;
pub const FILTER_WORDS: usize = 16_384;
pub const MAX_SHARES: usize = 8;
pub const MAX_DEPTH: usize = 128;
pub const MAX_RULES: usize = 8;
pub const RECORD_BYTES: usize = 4092;
pub const PATH_BYTES: usize = 1024;
pub const EXE_BYTES: usize = 256;
pub const ARGV_BYTES: usize = 512;
pub const TTY_BYTES: usize = 32;
pub const COMM_BYTES: usize = 16;
pub const CGROUP_BYTES: usize = 102;

pub const PROCESS: u32 = 1;
pub const FILE: u32 = 2;
/// `ABI_PERMITTED`.
pub const PERMITTED: u32 = 3;

pub const VERDICT_NONE: u8 = 0;
pub const VERDICT_ALLOW: u8 = 1;
pub const VERDICT_AUDIT: u8 = 2;
pub const VERDICT_BLOCK: u8 = 3;

pub const REASON_RULE: u8 = 1;
pub const REASON_POSTURE: u8 = 2;
pub const REASON_GUARD: u8 = 3;
pub const REASON_FAIL_CLOSED: u8 = 4;
pub const REASON_SELF_PROTECTION: u8 = 5;
pub const REASON_HARDENING: u8 = 6;

/// Kernel names of the hooks, at their `enum abi_hook` number.
pub const HOOKS: [&str; 36] = [
    "",
    "bprm_check_security",
    "file_open",
    "mmap_file",
    "file_mprotect",
    "ptrace_access_check",
    "bpf",
    "task_alloc",
    "socket_create",
    "path_rename",
    "path_link",
    "path_unlink",
    "path_rmdir",
    "path_mknod",
    "path_mkdir",
    "path_symlink",
    "path_truncate",
    "sb_mount",
    "move_mount",
    "sb_kern_mount",
    "capable",
    "userns_create",
    "ptrace_traceme",
    "inode_copy_up",
    "path_chmod",
    "path_chown",
    "bprm_committed_creds",
    "inode_setattr",
    "inode_link",
    "mmap_backing_file",
    "inode_setxattr",
    "inode_removexattr",
    "inode_set_acl",
    "inode_remove_acl",
    "unix_stream_connect",
    "unix_may_send",
];

pub const SET_PROCESS: u32 = 1 << 0;
pub const SET_FILE: u32 = 1 << 1;
pub const SET_IDENTITY: u32 = 1 << 2;
pub const SET_SUBJECTS: u32 = 1 << 3;
pub const SET_ARGUMENTS: u32 = 1 << 5;
pub const SET_BLOCKS: u32 = 1 << 4;
pub const SET_EXACT: u32 = 1 << 6;
pub const SET_TAINT: u32 = 1 << 8;
pub const SET_NO_UNLINKED_EXEC: u32 = 1 << 9;
pub const SET_NO_ANONYMOUS_EXEC: u32 = 1 << 10;
pub const SET_NO_EXECMOD: u32 = 1 << 11;
pub const SET_NO_POKE: u32 = 1 << 12;
pub const SET_NO_NEW_MOUNTS: u32 = 1 << 13;
pub const SET_NO_USER_NAMESPACES: u32 = 1 << 14;
pub const SET_KNOWN_FILE_SYSTEMS: u32 = 1 << 15;
pub const SET_GUARD_OBJECTS: u32 = 1 << 16;
pub const SET_GUARD_ANCESTORS: u32 = 1 << 17;
pub const SET_DENY_EXEC_READS: u32 = 1 << 18;
pub const SET_ALLOW_GUARD: u32 = 1 << 19;
pub const SET_HOLD: u32 = 1 << 20;

pub const NODE_ABOVE_BLOCK: u32 = 1 << 0;
pub const NODE_NAMES_ONLY: u32 = 1 << 1;
/// `ABI_NODE_ABOVE_PERMITTED`.
pub const NODE_ABOVE_PERMITTED: u32 = 1 << 3;
/// `ABI_NODE_ATOMIC`.
pub const NODE_ATOMIC: u32 = 1 << 2;

pub const TAINT_SHARED: u32 = u32::MAX;

pub const DEV_NONE: u32 = u32::MAX;
pub const DEV_APPLET: u32 = u32::MAX - 1;
pub const APPLET_ANY: u64 = 0;
pub const APPLET_MAY_PERMIT: u64 = 1;
pub const DEV_ARGUMENT: u32 = u32::MAX - 2;
pub const DEV_LISTS: u32 = u32::MAX - 3;
pub const LISTS_ALL: u64 = 0;
pub const DEV_INODELESS: u32 = DEV_LISTS;

pub const MAX_UNJUDGED: usize = 2;

/// `ABI_SUBJECT_HELD`.
pub const SUBJECT_HELD: u32 = 1 << 31;

pub const SLOT_EXEMPT: u32 = u32::MAX;

/// Number of `enum abi_cause`, which begins at 0.
pub const CAUSES: u32 = 8;

pub const EVENTS_DROPPED: u32 = 0;
pub const FAIL_CLOSED_DENIALS: u32 = 1;
pub const GUARD_DENIALS: u32 = 2;

pub const REPEAT: u8 = 0;
pub const NEW_OBJECT: u8 = 1;
pub const NEW_RULE: u8 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unjudged {
    pub set: u32,
    pub name_class: u32,
    pub inode_class: u32,
    pub subject: u32,
    pub held: u32,
    pub argc: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    pub slot: u32,
    pub container: u32,
    pub subject: u32,
    pub subject_set: u32,
    pub pending: u32,
    pub copying: u32,
    pub copy_set: u32,
    pub copy_class: u32,
    pub opening: u32,
    pub unjudged: u32,
    pub judged: u32,
    pub files: [Unjudged; MAX_UNJUDGED],
    pub held: u32,
    pub exe_ino: u64,
    pub exe_dev: u32,
    pub exe_generation: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    pub container: u32,
    pub set: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub generation: u64,
    pub id: u32,
    pub flags: u32,
    pub depth: u32,
    pub process_default: u8,
    pub file_default: u8,
    pub pad: [u8; 2],
    pub shares: [u32; MAX_SHARES],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    pub words: [u64; FILTER_WORDS],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    pub exact: u32,
    pub child: u32,
    pub deep: u32,
    pub set: u32,
    pub flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionKey {
    pub set: u32,
    pub class_id: u32,
    pub subject: u32,
    pub category: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decision {
    pub rank: u32,
    pub verdict: u8,
    pub rules_len: u8,
    pub pad: [u8; 2],
    pub rules: [u64; MAX_RULES],
    pub total_rules: u32,
    pub pad2: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InodeKey {
    pub set: u32,
    pub dev: u32,
    pub ino: u64,
    pub generation: u32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaintKey {
    pub ino: u64,
    pub dev: u32,
    pub generation: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    pub container: u32,
    pub payer: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub taints: u32,
    pub inodes: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubjectKey {
    pub set: u32,
    pub class_id: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label {
    pub stamp: u64,
    pub settled: u64,
    pub version: u32,
    pub period: u32,
    pub name_class: u32,
    pub inode_class: u32,
    pub linked: u32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    pub thread: u32,
    pub set: u32,
    pub class_id: u32,
    pub seen: u32,
    pub failed: u32,
    pub met: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub hash_key: [u64; 2],
    pub rename_sequence: u64,
    pub init_root_ino: u64,
    pub init_root_dev: u32,
    pub init_mnt_ns: u32,
    pub object: u64,
    pub max_taints: u32,
    pub max_inodes: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub len: u32,
    pub text: [u8; RECORD_BYTES],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub boot_ns: u64,
    pub generation: u64,
    pub rules: [u64; MAX_RULES],
    pub slot: u32,
    pub container: u32,
    pub total_rules: u32,
    pub pid: u32,
    pub ppid: u32,
    pub container_pid: u32,
    pub uid: u32,
    pub errno_value: u32,
    pub hook: u8,
    pub verdict: u8,
    pub reason: u8,
    pub category: u8,
    pub rules_len: u8,
    pub truncated: u8,
    pub argv_len: u16,
    pub comm: [u8; COMM_BYTES],
    pub tty: [u8; TTY_BYTES],
    pub exe: [u8; EXE_BYTES],
    pub parent_exe: [u8; EXE_BYTES],
    pub cwd: [u8; EXE_BYTES],
    pub path: [u8; PATH_BYTES],
    pub argv: [u8; ARGV_BYTES],
    pub novelty: u8,
    pub primitive: u8,
    pub cgroup: [u8; CGROUP_BYTES],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sighting {
    pub rule: u64,
    pub ino: u64,
    pub dev: u32,
    pub generation: u32,
    pub container: u32,
    pub hook: u8,
    pub verdict: u8,
    pub reason: u8,
    pub category: u8,
}

#[cfg(feature = "aya")]
mod pod {
    macro_rules! pod {
        ($($name:ident),+) => {$(
            #[expect(unsafe_code, reason = "aya asks for a promise about the layout")]
            // SAFETY: the type is `repr(C)`, `Copy`, has no padding that the compiler inserts
            // (every gap is a named field; sizes are compared by tests/layout.rs), and every bit
            // pattern is a valid value.
            unsafe impl aya::Pod for super::$name {}
        )+};
    }

    pod!(
        Record,
        Task,
        Slot,
        Set,
        Node,
        DecisionKey,
        Decision,
        InodeKey,
        TaintKey,
        Writer,
        Quota,
        SubjectKey,
        Probe,
        Settings,
        Filter
    );
}
