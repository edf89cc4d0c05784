/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the loader gives: whom the rules concern, where paths end, and the rules.
 */
#ifndef REFERENCE_RULES_H
#define REFERENCE_RULES_H

/* Bits of a rule, one for each program; the loader's src/hooks.rs has the same. */
enum hook {
	HOOK_EXEC = 1 << 0,
	HOOK_OPEN = 1 << 1,
	HOOK_RENAME = 1 << 2,
	HOOK_LINK = 1 << 3,
	HOOK_UNLINK = 1 << 4,
	HOOK_RMDIR = 1 << 5,
	HOOK_MKDIR = 1 << 6,
	HOOK_MKNOD = 1 << 7,
	HOOK_SYMLINK = 1 << 8,
	HOOK_CHMOD = 1 << 9,
	HOOK_TRUNCATE = 1 << 10,
	HOOK_MOUNT = 1 << 11,
	HOOK_MOVE_MOUNT = 1 << 12,
};

/* Which hooks deny what has this path, what lies directly in it, and what lies anywhere below. The
 * latter two hold for the directory itself too. */
struct rule {
	__u32 exact;
	__u32 child;
	__u32 tree;
};

#define MAX_RULES 4096

/* FNV-1a of a path -> rule. Written by the loader before the programs are attached. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_RULES);
	__type(key, __u64);
	__type(value, struct rule);
} rules SEC(".maps");

/* The subject is a control group, and all below it; else a pair of namespaces. */
const volatile __u32 subject_is_cgroup;
const volatile __u32 cgroup_level;
const volatile __u64 cgroup_id;
const volatile __u32 pid_namespace_id;
const volatile __u32 mount_namespace_id;

/* Paths end at the root of the acting task; else at that of the mount namespace. */
const volatile __u32 to_task_root;

#endif
