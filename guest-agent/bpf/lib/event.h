/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The record of a denial or audit, as programs write it into the ring and the agent reads it, and what
 * makes two records of one kind. Part of abi.h, which has the bounds, and includes it.
 */
#ifndef KADAPTER_EVENT_H
#define KADAPTER_EVENT_H

struct abi_event {
	__u64 boot_ns;
	__u64 generation;
	__u64 rules[ABI_MAX_RULES];
	__u32 slot;
	__u32 container; /* 0 = none: the guard decided */
	__u32 total_rules;
	__u32 pid; /* thread group, root pid namespace */
	__u32 ppid;
	__u32 container_pid;
	__u32 uid;
	__u32 errno_value;
	__u8 hook;
	__u8 verdict;
	__u8 reason;
	__u8 category;
	__u8 rules_len;
	__u8 truncated;
	__u16 argv_len;
	char comm[ABI_COMM_BYTES];
	char tty[ABI_TTY_BYTES];
	char exe[ABI_EXE_BYTES];
	char parent_exe[ABI_EXE_BYTES];
	char cwd[ABI_EXE_BYTES];
	char path[ABI_PATH_BYTES];
	char argv[ABI_ARGV_BYTES]; /* NUL-separated */
	__u8 novelty;	/* abi_novelty */
	__u8 primitive; /* abi_primitive; 0 = none */
	/* Of a task of no container: last name of its cgroup's path. */
	char cgroup[ABI_CGROUP_BYTES];
};

/* How much an event tells that none before it did. */
enum abi_novelty {
	ABI_REPEAT = 0,
	ABI_NEW_OBJECT = 1, /* the first of this rule and object */
	ABI_NEW_RULE = 2,   /* the first of this rule */
};

/* Key of `sightings`: one kind of event. Without an object, any event of the rule. */
struct abi_sighting {
	__u64 rule; /* that decided first; 0 = none: a posture, the guard, no decision */
	__u64 ino;
	__u32 dev; /* s_dev; 0 = no object */
	__u32 generation; /* of the inode */
	__u32 container;
	__u8 hook;
	__u8 verdict;
	__u8 reason;
	__u8 category;
};

_Static_assert(sizeof(struct abi_event) == 2576, "abi_event");
_Static_assert(sizeof(struct abi_sighting) == 32, "abi_sighting");

#endif
