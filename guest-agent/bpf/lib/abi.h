/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What programs and agent share: bounds, keys, values and the event record. Mirrored in
 * src/abi.rs; a test compares the layouts. Fixed widths, explicit padding, no bit fields.
 */
#ifndef KADAPTER_ABI_H
#define KADAPTER_ABI_H

#ifndef KADAPTER_VMLINUX_H
#include <stdint.h>
typedef uint8_t __u8;
typedef uint16_t __u16;
typedef uint32_t __u32;
typedef uint64_t __u64;
typedef int32_t __s32;
#endif

/* Containers at once: a pod has tens at most. */
#define ABI_MAX_SLOTS 256
/* Dentries that fit on the stack beside the rest (512 bytes). */
#define ABI_CHUNK 8
/* Components of a rule with the prefix of its mount; deeper accesses are walked, not hashed. */
#define ABI_MAX_DEPTH 128
/* Dentries between a file and the root of its super block: PATH_MAX / 2, as for one-letter names. */
#define ABI_MAX_WALK 2048
/* The kernel's NAME_MAX. */
#define ABI_MAX_NAME 255
/* Shares of the host that are known at a glance. */
#define ABI_MAX_SHARES 8
/* Rules that one event names; `total_rules` says how many there were. */
#define ABI_MAX_RULES 8
/* Ancestors of a cgroup that are looked up when a task has no label. */
#define ABI_MAX_CGROUP_LEVELS 16

/* Places, decisions, subjects and inodes at most: 100,000 rules of eight components with a set in
 * force and the next one being written. */
#define ABI_MAX_NODES 2097152
#define ABI_MAX_DECISIONS 1048576
#define ABI_MAX_SUBJECTS 262144
#define ABI_MAX_INODES 262144
/* Files that containers under taint have written: each costs some 100 bytes until it is deleted. */
#define ABI_MAX_TAINTS 262144

/* Words of a filter: a bit for each name of a node, or each inode that is held. With 10,000 of them
 * one bit in a hundred is set. */
#define ABI_FILTER_WORDS 16384

/* What an agent notes of a container, see src/maps/record.rs of the agent. */
#define ABI_RECORD_BYTES 4092

#define ABI_PATH_BYTES 1024
#define ABI_EXE_BYTES 256
#define ABI_ARGV_BYTES 512
#define ABI_TTY_BYTES 32
#define ABI_COMM_BYTES 16
/* containerd's names have 85 with systemd's. */
#define ABI_CGROUP_BYTES 102

/* The last one is none of rules: what they permit to be executed, and what a guard keeps as it is. */
enum abi_category { ABI_PROCESS = 1, ABI_FILE = 2, ABI_PERMITTED = 3 };
enum abi_verdict { ABI_NONE = 0, ABI_ALLOW = 1, ABI_AUDIT = 2, ABI_BLOCK = 3 };
enum abi_reason {
	ABI_RULE = 1,
	ABI_POSTURE = 2,
	ABI_GUARD = 3,
	ABI_FAIL_CLOSED = 4,
	ABI_SELF_PROTECTION = 5,
	ABI_HARDENING = 6,
};
/* In the order of policy-model's Primitive. */
enum abi_primitive {
	ABI_TAINT = 1,
	ABI_UNLINKED_EXEC = 2,
	ABI_ANONYMOUS_EXEC = 3,
	ABI_EXECMOD = 4,
	ABI_POKE = 5,
	ABI_NEW_MOUNT = 6,
	ABI_USER_NAMESPACE = 7,
	ABI_UNKNOWN_FILE_SYSTEM = 8,
	ABI_NAME_GUARD = 9,
	ABI_EXEC_READ = 10,
	ABI_COVERING_MOUNT = 11,
	ABI_ALLOW_GUARD = 12,
};
enum abi_hook {
	ABI_BPRM_CHECK_SECURITY = 1,
	ABI_FILE_OPEN = 2,
	ABI_MMAP_FILE = 3,
	ABI_FILE_MPROTECT = 4,
	ABI_PTRACE_ACCESS_CHECK = 5,
	ABI_BPF = 6,
	ABI_TASK_ALLOC = 7,
	ABI_SOCKET_CREATE = 8,
	ABI_PATH_RENAME = 9,
	ABI_PATH_LINK = 10,
	ABI_PATH_UNLINK = 11,
	ABI_PATH_RMDIR = 12,
	ABI_PATH_MKNOD = 13,
	ABI_PATH_MKDIR = 14,
	ABI_PATH_SYMLINK = 15,
	ABI_PATH_TRUNCATE = 16,
	ABI_SB_MOUNT = 17,
	ABI_MOVE_MOUNT = 18,
	ABI_SB_KERN_MOUNT = 19,
	ABI_CAPABLE = 20,
	ABI_USERNS_CREATE = 21,
	ABI_PTRACE_TRACEME = 22,
	ABI_INODE_COPY_UP = 23,
	ABI_PATH_CHMOD = 24,
	ABI_PATH_CHOWN = 25,
	ABI_BPRM_COMMITTED_CREDS = 26,
	ABI_INODE_SETATTR = 27,
	ABI_INODE_LINK = 28,
	ABI_MMAP_BACKING_FILE = 29,
	ABI_INODE_SETXATTR = 30,
	ABI_INODE_REMOVEXATTR = 31,
	ABI_INODE_SET_ACL = 32,
	ABI_INODE_REMOVE_ACL = 33,
	ABI_UNIX_STREAM_CONNECT = 34,
	ABI_UNIX_MAY_SEND = 35,
};

/* Flags of a set. */
#define ABI_SET_PROCESS (1u << 0)  /* has rules or a posture for programs */
#define ABI_SET_FILE (1u << 1)	   /* has rules or a posture for files */
#define ABI_SET_IDENTITY (1u << 2) /* has objects held by identity */
#define ABI_SET_SUBJECTS (1u << 3) /* has rules with sources */
#define ABI_SET_ARGUMENTS (1u << 5) /* has rules on the arguments of programs */
#define ABI_SET_BLOCKS (1u << 4)   /* has Block rules, which a mount could cover */
#define ABI_SET_EXACT (1u << 6)	   /* no rule speaks of what lies below a place */
/* Options of the rule set. */
#define ABI_SET_TAINT (1u << 8)
#define ABI_SET_NO_UNLINKED_EXEC (1u << 9)
#define ABI_SET_NO_ANONYMOUS_EXEC (1u << 10)
#define ABI_SET_NO_EXECMOD (1u << 11)
#define ABI_SET_NO_POKE (1u << 12)
#define ABI_SET_NO_NEW_MOUNTS (1u << 13)
#define ABI_SET_NO_USER_NAMESPACES (1u << 14)
#define ABI_SET_KNOWN_FILE_SYSTEMS (1u << 15)
#define ABI_SET_GUARD_OBJECTS (1u << 16)
#define ABI_SET_GUARD_ANCESTORS (1u << 17)
#define ABI_SET_DENY_EXEC_READS (1u << 18)
#define ABI_SET_ALLOW_GUARD (1u << 19)
#define ABI_SET_HOLD (1u << 20) /* of its Block rules, some speak of directories of programs */

/* Flags of a node: what lies at the place or below it. */
#define ABI_NODE_ABOVE_BLOCK (1u << 0) /* the object of a Block rule, below */
#define ABI_NODE_NAMES_ONLY (1u << 1)  /* of one that knows its objects by their names alone, here or below */
#define ABI_NODE_ABOVE_PERMITTED (1u << 3) /* what a guard keeps, below */
#define ABI_NODE_ATOMIC (1u << 2)      /* an atomic writer replaces what is in it, see walk.h */

/* Files of one exec that are decided by arguments: a script, and what interprets it. */
#define ABI_MAX_UNJUDGED 2

/* In the number of a subject: by its inode, of which only Block rules speak. */
#define ABI_SUBJECT_HELD (1u << 31)

/* Value of `cgroups` for a cgroup whose tasks the guard lets pass. */
#define ABI_SLOT_EXEMPT 0xffffffffu

/* A file of an exec that is decided when its arguments can be read: what was found when it was looked
 * at, for a script is out of sight by then. */
struct abi_unjudged {
	__u32 set;
	__u32 name_class;
	__u32 inode_class;
	__u32 subject;
	__u32 held; /* as abi_task's */
	__u32 argc; /* at that time: later ones are its interpreter's */
};

/* Label of a task. */
struct abi_task {
	__u32 slot;
	__u32 container; /* number of the registration; a slot is used again, this is not */
	__u32 subject;	 /* class of the acting executable, as of `subject_set` */
	__u32 subject_set;
	/* As one word with the next, see lib/scope.h. */
	__u32 pending; /* the runtime's own code until the first exec: no rule holds before */
	/* An overlay copies a file up for this task: what its next layer file is to inherit. */
	__u32 copying; /* abi_copying */
	__u32 copy_set;
	__u32 copy_class;
	/* Class of the file that execve opens, if that exec is to be put off: a layer's file behind it is
	 * of the same one. */
	__u32 opening;
	__u32 unjudged; /* how many of `files` the exec under way awaits */
	__u32 judged; /* how many of them the last exec was decided on, and permitted */
	struct abi_unjudged files[ABI_MAX_UNJUDGED];
	__u32 held; /* subject by the acting executable's inode, as of `subject_set`; 0 = none */
	/* That inode, as in abi_inode_key; 0 = it has no key. */
	__u64 exe_ino;
	__u32 exe_dev;
	__u32 exe_generation;
};

enum abi_copying { ABI_NOT_COPYING = 0, ABI_COPYING_CLEAN = 1, ABI_COPYING_TAINTED = 2 };

/* Value of `slots`: one word, so that a switch of the set is seen whole or not at all. */
struct abi_slot {
	__u32 container;
	__u32 set; /* 0 = none: everything is denied */
};

/* Value of `sets`, at slot * 2 + (set & 1). */
struct abi_set {
	__u64 generation;
	__u32 id;
	__u32 flags;
	__u32 depth; /* of the deepest trie node below its super block's root */
	__u8 process_default; /* abi_verdict of what no rule matches */
	__u8 file_default;
	__u8 pad[2];
	__u32 shares[ABI_MAX_SHARES]; /* s_dev of FUSE super blocks with a node; 0 = none */
};

/* The only value of a filter: what has no bit is not there, what has one may be. */
struct abi_filter {
	__u64 words[ABI_FILTER_WORDS];
};

/* Value of `nodes`, keyed by the hash of (set, super block, names): classes of the object itself,
 * of its children that have no node, and of all deeper ones. 0 = no rule. */
struct abi_node {
	__u32 exact;
	__u32 child;
	__u32 deep;
	__u32 set; /* so that an agent that takes over finds what belongs together */
	__u32 flags;
};

/* Key of `decisions`. Subject 0 stands for everybody without an entry of his own. */
struct abi_decision_key {
	__u32 set;
	__u32 class_id;
	__u32 subject;
	__u32 category;
};

struct abi_decision {
	__u32 rank; /* of the rules that decided; see policy-model's Rank::encode */
	__u8 verdict;
	__u8 rules_len;
	__u8 pad[2];
	__u64 rules[ABI_MAX_RULES];
	__u32 total_rules;
	__u32 pad2;
};

/* Device of no inode. An entry of `inodes` with it is for agents only, which carry identities from one
 * set to the next: `ino` is the keyed hash of an identity that the objects of a class are held for,
 * `generation` the class, and so is the value. */
#define ABI_DEV_NONE 0xffffffffu
/* Another one, of a multi-call binary whose class is `generation`: `ino` is the keyed hash of an
 * applet's name, the value the class of the binary as this applet. */
#define ABI_DEV_APPLET 0xfffffffeu
/* `ino` of it: the binary as whatever could not be read; every such binary has it. */
#define ABI_APPLET_ANY 0u
/* `ino` of it: some applet may be permitted although the binary by itself is denied. */
#define ABI_APPLET_MAY_PERMIT 1u
/* Of a class (`generation`) that rules on arguments speak of: `ino` is the keyed hash of an argument,
 * the value a bit for each list of a rule that has it. */
#define ABI_DEV_ARGUMENT 0xfffffffdu
/* And: `ino` is a set of lists that have all arguments, the value the class of what is executed so. */
#define ABI_DEV_LISTS 0xfffffffcu
/* `ino` of it: the value is the set of all lists. */
#define ABI_LISTS_ALL 0u
/* Devices from here on are no inode's. */
#define ABI_DEV_INODELESS 0xfffffffcu

/* Key of `inodes`: an object held by identity. */
struct abi_inode_key {
	__u32 set;
	__u32 dev; /* s_dev: major << 20 | minor */
	__u64 ino;
	__u32 generation;
	__u32 pad;
};

/* Key of `taints`: a file that a container has opened for writing. */
struct abi_taint_key {
	__u64 ino;
	__u32 dev; /* s_dev */
	__u32 generation;
};

/* `container` of what several containers have written. */
#define ABI_TAINT_SHARED 0xffffffffu

/* Value of `taints`: numbers of registrations. */
struct abi_writer {
	__u32 container; /* which has written it */
	__u32 payer;	 /* in whose quota it counts */
};

/* Value of `quotas`: entries of each table that count as a container's. */
struct abi_quota {
	__u32 taints;
	__u32 inodes;
};

/* Key of `usage`. */
enum abi_usage { ABI_USAGE_TAKEN = 0, ABI_USAGE_RETURNED = 1 };

/* Key of `subjects`: subject class of an object's class; absent = 0. */
struct abi_subject_key {
	__u32 set;
	__u32 class_id;
};

/* Value of `labels`: what a walk from this inode found, and when. */
struct abi_label {
	__u64 stamp; /* set << 32 | rename_lock's sequence at the walk */
	__u64 settled; /* the stamp, if an open is allowed without a word; else 0 */
	__u32 version; /* odd while it is written */
	__u32 period;  /* of time; it does not hold in the next one */
	__u32 name_class;
	__u32 inode_class;
	__u32 linked; /* got a second name: one inode, several verdicts, nothing to keep */
	__u32 pad;
};

/* The only value of `probes`: what the inodes that a thread of the agent opens now are to be
 * recorded as. */
struct abi_probe {
	__u32 thread; /* 0 = none */
	__u32 set;
	__u32 class_id;
	__u32 seen;   /* inodes recorded */
	__u32 failed; /* inodes that could not be recorded */
	__u32 met;    /* class that one of them had in this set; 0 = none had another */
};

/* Value of `records`: for the next agent, nothing to the programs. */
struct abi_record {
	__u32 len;
	char text[ABI_RECORD_BYTES];
};

/* The only value of `settings`. */
struct abi_settings {
	__u64 hash_key[2];
	__u64 rename_sequence; /* address of rename_lock's sequence; 0 = unknown, nothing is kept */
	__u64 init_root_ino;
	__u32 init_root_dev;
	__u32 init_mnt_ns;
	__u64 object; /* first bytes of the object's digest: which programs these maps belong to */
	__u32 max_taints; /* entries that the tables have in this guest */
	__u32 max_inodes;
};

/* Why something was denied without a decision. */
enum abi_cause {
	ABI_CAUSE_RULES = 0,	 /* no rule set was found for the task */
	ABI_CAUSE_PLACE = 1,	 /* where the file lies */
	ABI_CAUSE_SUBJECT = 2,	 /* which program acts */
	ABI_CAUSE_MARK = 3,	 /* what is written could not be marked */
	ABI_CAUSE_COPY = 4,	 /* a copy of an overlay's could not inherit */
	ABI_CAUSE_ARGUMENTS = 5, /* too many programs or arguments of one exec */
	ABI_CAUSE_MEMORY = 6,	 /* the kernel had no memory for a label */
	ABI_CAUSE_SIGNAL = 7,	 /* a program that is denied could not be killed at once */
	ABI_CAUSES = 8,
};

/* Index into `counters`. */
enum abi_counter {
	ABI_EVENTS_DROPPED = 0,
	ABI_FAIL_CLOSED_DENIALS = 1,
	ABI_GUARD_DENIALS = 2,
	ABI_COUNTERS = 3,
};

#include "event.h"

_Static_assert(sizeof(struct abi_unjudged) == 24, "abi_unjudged");
_Static_assert(sizeof(struct abi_task) == 112, "abi_task");
_Static_assert(sizeof(struct abi_slot) == 8, "abi_slot");
_Static_assert(sizeof(struct abi_set) == 56, "abi_set");
_Static_assert(sizeof(struct abi_node) == 20, "abi_node");
_Static_assert(sizeof(struct abi_decision_key) == 16, "abi_decision_key");
_Static_assert(sizeof(struct abi_decision) == 80, "abi_decision");
_Static_assert(sizeof(struct abi_inode_key) == 24, "abi_inode_key");
_Static_assert(sizeof(struct abi_taint_key) == 16, "abi_taint_key");
_Static_assert(sizeof(struct abi_subject_key) == 8, "abi_subject_key");
_Static_assert(sizeof(struct abi_probe) == 24, "abi_probe");
_Static_assert(sizeof(struct abi_label) == 40, "abi_label");
_Static_assert(sizeof(struct abi_record) == 4096, "abi_record");
_Static_assert(sizeof(struct abi_settings) == 56, "abi_settings");
_Static_assert(sizeof(struct abi_writer) == 8, "abi_writer");
_Static_assert(sizeof(struct abi_quota) == 8, "abi_quota");
/* The stack holds one chunk of dentries; depths are whole chunks. */
_Static_assert((ABI_CHUNK & (ABI_CHUNK - 1)) == 0, "the chunk is a mask");
_Static_assert(ABI_MAX_DEPTH % ABI_CHUNK == 0, "depths are whole chunks");

#endif
