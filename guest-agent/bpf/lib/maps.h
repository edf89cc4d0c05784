/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Every map, with who writes and who reads it. Maps are pinned by the agent: they and the links
 * outlive it. Entries of hashes are not preallocated, their buckets are: where the bound is one of
 * abi.h, the agent makes it smaller in a guest that has less memory (its src/loader/capacity.rs).
 */
#ifndef KADAPTER_MAPS_H
#define KADAPTER_MAPS_H

/* 811 events: a moment's worth. Whoever makes more than the agent takes loses his own. */
#define EVENT_BYTES (2 * 1024 * 1024)
/* Up to here the ring takes repeats, so that a loop on one object leaves room for what is new: 405
 * events. Up to there it takes first events of further objects, so that a loop over objects leaves
 * room for the first event of another rule: 202 of them at once. */
#define REPEAT_BYTES (EVENT_BYTES / 2)
#define OBJECT_BYTES (EVENT_BYTES / 4 * 3)
/* Ten times what the ring holds. Preallocated: 8192 * (32 + 8 + 56) = 768 KiB. The oldest make room;
 * what is forgotten is new once more. */
#define MAX_SIGHTINGS 8192

/* task -> label. Written by the agent (registration), task_alloc, exec. Read by every hook. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct abi_task);
} tasks SEC(".maps");

/* slot -> registration and set in force. Written by the agent, in one word. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ABI_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct abi_slot);
} slots SEC(".maps");

/* slot * 2 + parity of the set -> facts of the set. Written by the agent before the switch. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ABI_MAX_SLOTS * 2);
	__type(key, __u32);
	__type(value, struct abi_set);
} sets SEC(".maps");

/* hash of a place -> classes. Written by the agent, read by walk.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_NODES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct abi_node);
} nodes SEC(".maps");

/* Which names nodes of any set have. Written by the agent before the switch; bits are only added, so
 * that a name costs one look whatever sets there are, and an old one a walk that finds nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct abi_filter);
} known_names SEC(".maps");

/* Which inodes are held by identity, in any set. Written with `inodes`, by programs alone; bits are
 * only added. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct abi_filter);
} known_inodes SEC(".maps");

/* (set, class, subject, category) -> decision. Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_DECISIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct abi_decision_key);
	__type(value, struct abi_decision);
} decisions SEC(".maps");

/* (set, class of an executable) -> subject class. Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_SUBJECTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct abi_subject_key);
	__type(value, __u32);
} subjects SEC(".maps");

/* (set, inode) -> class held by identity. Written by file_open while the agent opens a target,
 * removed by the agent. What the agent says of classes stands beside, at devices of no inode. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_INODES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct abi_inode_key);
	__type(value, __u32);
} inodes SEC(".maps");

/* inode -> number that stands for it where its own ones can be given to another. Written by
 * file_open while the agent opens a target, and lost with the inode, which the agent holds. */
struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} tokens SEC(".maps");

/* inode -> which container has written it. Written by file_open; removed by inode_free_security when
 * the file is deleted, by the agent when the container is gone. A container without room in its quota
 * opens nothing new for writing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_TAINTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct abi_taint_key);
	__type(value, struct abi_writer);
} taints SEC(".maps");

/* number of a registration -> what it has taken of tables that containers fill. Made and removed by
 * the agent, counted by quota.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct abi_quota);
} quotas SEC(".maps");

/* enum abi_usage -> entries: what all containers have taken, as programs count it, and how many of these
 * the agent has removed. One writer each: user space cannot add to a word that programs add to. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct abi_quota);
} usage SEC(".maps");

/* inode -> what the last walk from it found. Written and read by label.h; lost with the inode. */
struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct abi_label);
} labels SEC(".maps");

/* Written by the agent around one open(2), counted up by file_open. An array, because every open of
 * the guest looks here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct abi_probe);
} probes SEC(".maps");

/* cgroup id -> slot, or exempt from the guard. Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_SLOTS * 2);
	__type(key, __u64);
	__type(value, __u32);
} cgroups SEC(".maps");

/* slot -> what the agent knows of the container. Written and read by agents only: it is pinned, so
 * that the next one takes over. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ABI_MAX_SLOTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct abi_record);
} records SEC(".maps");

/* 0: number of the last event that an agent has taken from the ring; 1: how many of the ring's
 * losses it has reported. Written and read by agents. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} journal SEC(".maps");

/* Written once by the agent before the programs are attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct abi_settings);
} settings SEC(".maps");

/* What was lost or denied for want of a decision. Written by programs, read by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ABI_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* slot * ABI_CAUSES + abi_cause -> denials for want of a decision; behind the last slot those of no
 * container. Written by programs, read by the agent, which clears a slot when it gives it away. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, (ABI_MAX_SLOTS + 1) * ABI_CAUSES);
	__type(key, __u32);
	__type(value, __u64);
} undecided SEC(".maps");

/* Denials and audits. Written by emit.h, drained by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_BYTES);
} events SEC(".maps");

/* kind of event -> when its first one was written. Written and read by emit.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_SIGHTINGS);
	__type(key, struct abi_sighting);
	__type(value, __u64);
} sightings SEC(".maps");

/* Atomic: a program can be preempted by another one of the same processor. */
static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		__sync_fetch_and_add(value, 1);
}

#endif
