/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What no rule can speak of, told by a bit: a name that no node has, an inode that no set holds.
 * Nearly every name is one, and then nothing is walked, hashed or kept. The mirror of src/filter.rs.
 */
#ifndef KADAPTER_FILTER_H
#define KADAPTER_FILTER_H

/* Odd numbers without a pattern: digits of pi and of e. Who finds names with equal bits gains a walk. */
#define FILTER_FIRST 0x9216d5d98979fb1bull
#define FILTER_SECOND 0xb7e151628aed2a6bull
#define FILTER_LEN 0x243f6a8885a308d3ull

/* Bits of the index. */
#define FILTER_SHIFT (64 - 20)

static __always_inline __u32 filter_index(__u64 first, __u64 second, __u64 len)
{
	return ((first ^ len * FILTER_LEN) * FILTER_FIRST + second * FILTER_SECOND) >> FILTER_SHIFT;
}

static __always_inline bool has_bit(const struct abi_filter *filter, __u32 index)
{
	return filter->words[index / 64 & (ABI_FILTER_WORDS - 1)] >> (index & 63) & 1;
}

static __always_inline void add_bit(struct abi_filter *filter, __u32 index)
{
	__sync_fetch_and_or(&filter->words[index / 64 & (ABI_FILTER_WORDS - 1)],
			    1ull << (index & 63));
}

/* Whether no node has the name of this dentry. False as well if that is not sure: while it is
 * renamed (the kernel turns its sequence in __d_move, fs/dcache.c), of a root, of an atomic writer's
 * directory. */
static __noinline bool is_unknown_name(struct dentry *dentry)
{
	struct abi_filter *names;
	__u32 zero = 0, renames, len;
	__u64 text, first, second = 0;
	bool unknown;

	names = bpf_map_lookup_elem(&known_names, &zero);
	if (!names)
		return false;
	renames = *(volatile __u32 *)&dentry->d_seq.seqcount.sequence;
	if (renames & 1)
		return false;
	barrier();
	text = (__u64)dentry->d_name.name;
	len = dentry->d_name.len;
	first = kernel_word(text);
	if (len < 8)
		first &= low_bytes(len);
	else if (len > 8) {
		second = kernel_word(text + 8);
		if (len < 16)
			second &= low_bytes(len - 8);
	}
	/* Roots, also of what is not connected to one, are called `/`. */
	unknown = (first & 0xff) != '/' && !starts_as_version(first) &&
		  !has_bit(names, filter_index(first, second, len));
	barrier();
	return unknown && *(volatile __u32 *)&dentry->d_seq.seqcount.sequence == renames;
}

#endif
