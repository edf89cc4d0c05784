/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What each container may take of the tables that containers fill, so that what one of them does leaves the others room.
 * One alone may take half of a table; its last quarter is for those that have little, a 64th each.
 */
#ifndef KADAPTER_QUOTA_H
#define KADAPTER_QUOTA_H

static __always_inline struct abi_quota *usage_of(__u32 which)
{
	return bpf_map_lookup_elem(&usage, &which);
}

static __always_inline bool has_room_for(__u32 own, __u32 all, __u32 most)
{
	return own < most / 64 || (own < most / 2 && all < most / 4 * 3);
}

/* Takes one entry of `taints` for a container; fails beyond its share. */
static __always_inline int take_taint(__u32 container)
{
	struct abi_quota *own = bpf_map_lookup_elem(&quotas, &container);
	struct abi_quota *taken = usage_of(ABI_USAGE_TAKEN), *returned = usage_of(ABI_USAGE_RETURNED);
	__u32 zero = 0;
	struct abi_settings *bounds = bpf_map_lookup_elem(&settings, &zero);

	if (!own || !taken || !returned || !bounds)
		return -1;
	if (!has_room_for(own->taints, taken->taints - returned->taints, bounds->max_taints))
		return -1;
	__sync_fetch_and_add(&own->taints, 1);
	__sync_fetch_and_add(&taken->taints, 1);
	return 0;
}

static __always_inline void return_taint(__u32 container)
{
	struct abi_quota *own = bpf_map_lookup_elem(&quotas, &container);
	struct abi_quota *taken = usage_of(ABI_USAGE_TAKEN);

	if (own)
		__sync_fetch_and_sub(&own->taints, 1);
	if (taken)
		__sync_fetch_and_sub(&taken->taints, 1);
}

/* Takes one entry of `inodes`, which the container has as long as it lives: copies of what it is
 * denied are rare. The agent's own entries are no container's. */
static __always_inline int take_inode(__u32 container)
{
	struct abi_quota *own = bpf_map_lookup_elem(&quotas, &container);
	__u32 zero = 0;
	struct abi_settings *bounds = bpf_map_lookup_elem(&settings, &zero);

	if (!own || !bounds || own->inodes >= bounds->max_inodes / 64)
		return -1;
	__sync_fetch_and_add(&own->inodes, 1);
	return 0;
}

#endif
