/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * From a dentry to the classes of its place: up to the root of its super block, then from there down
 * the trie as far as it goes. Names below the deepest node found are never read. Relative to the
 * super block's root, so chroot, bind mounts and mount namespaces change nothing.
 */
#ifndef KADAPTER_WALK_H
#define KADAPTER_WALK_H

/* Super blocks that the kernel mounts for itself. Of pipes, sockets, memfd, no mount can be a
 * container's; others, as securityfs, debugfs, configfs and mqueue, are mounted by users, too. */
#define SB_KERNMOUNT (1ul << 22)
#define SB_NOUSER (1ul << 31)

struct walk {
	__u64 at; /* address of the dentry where the walk is */
	__u64 start;
	__u64 root;
	__u32 depth; /* components between root and start */
	__u32 limit; /* components to look for: no node is deeper */
	__u32 base;  /* first component of the chunk */
	__u32 found; /* components down to the deepest node found */
	__u64 place;
	struct abi_node node; /* the deepest node found */
	__u8 failed;
	__u8 done;
	__u64 chain[ABI_CHUNK]; /* the dentries passed last, at their distance from the start */
};

enum walk_result { WALK_OK = 0, WALK_PATHLESS = 1, WALK_UNKNOWN_SB = 2, WALK_FAILED = 3 };

static __always_inline __u64 parent_of(__u64 dentry)
{
	return (__u64)kernel_memory(struct dentry, dentry)->d_parent;
}

/* Up to the root. */
static long climb(__u32 i, void *context)
{
	struct walk *w = context;
	__u64 parent;

	if (w->at == w->root) {
		w->done = 1;
		return 1;
	}
	parent = parent_of(w->at);
	if (!parent || parent == w->at) {
		/* A disconnected dentry: opened by handle, its name is unknown. */
		w->failed = 1;
		return 1;
	}
	w->chain[i & (ABI_CHUNK - 1)] = w->at;
	w->at = parent;
	w->depth++;
	return 0;
}

/* Up once more, for components that the first climb has overwritten. */
static long climb_again(__u32 i, void *context)
{
	struct walk *w = context;

	w->chain[i & (ABI_CHUNK - 1)] = w->at;
	w->at = parent_of(w->at);
	return 0;
}

/* Hash of a place and the name of a dentry below it; 0 = it cannot be. Global, as find_place. */
__noinline __u64 hash_below(__u64 place, __u64 address)
{
	struct dentry *dentry = kernel_memory(struct dentry, address);
	__u64 text = (__u64)dentry->d_name.name;
	__u32 len = dentry->d_name.len, zero = 0;
	struct abi_settings *own = bpf_map_lookup_elem(&settings, &zero);
	struct sip sip;

	if (!own || len > ABI_MAX_NAME)
		return 0;
	sip_start(&sip, own->hash_key);
	sip_word(&sip, place);
	for (__u32 end = 8; end <= ABI_MAX_NAME; end += 8) {
		if (end > len)
			break;
		sip_word(&sip, kernel_word(text));
		text += 8;
	}
	return sip_finish(&sip, kernel_word(text) & low_bytes(len & 7), len + sizeof(place));
}

/* Rules name the links of an atomic writer, so what is in its directory counts as lying beside it. */
static __always_inline bool is_version(__u64 dentry)
{
	return starts_as_version(
		kernel_word((__u64)kernel_memory(struct dentry, dentry)->d_name.name));
}

/* One component down, if the trie goes there: whether that was all. Global, as find_place, so that the
 * eight steps of a chunk are verified as one. */
__noinline int step_down(struct walk *w, __u32 i)
{
	struct abi_node *node;
	__u32 component;
	__u64 dentry;

	if (!w)
		return 1;
	component = w->base + i;
	if (component >= w->depth || component >= w->limit) {
		w->done = 1;
		return 1;
	}
	dentry = w->chain[(w->depth - 1 - component) & (ABI_CHUNK - 1)];
	if (w->node.flags & ABI_NODE_ATOMIC && is_version(dentry)) {
		w->node.flags &= ~ABI_NODE_ATOMIC; /* one, not all that are called so */
		w->found = component + 1;
		return 0;
	}
	w->place = hash_below(w->place, dentry);
	if (!w->place) {
		w->failed = 1;
		return 1;
	}
	node = bpf_map_lookup_elem(&nodes, &w->place);
	if (!node) {
		w->done = 1;
		return 1;
	}
	w->node = *node;
	w->found = component + 1;
	return 0;
}

/* The first chunk is what the climb to the root leaves. */
static long walk_chunk(__u32 i, void *context)
{
	struct walk *w = context;

	w->base = i * ABI_CHUNK;
	if (i && w->base < w->depth) {
		w->at = w->start;
		bpf_loop(w->depth - w->base, climb_again, w, 0);
	}
	for (__u32 at = 0; at < ABI_CHUNK; at++)
		if (step_down(w, at))
			return 1;
	return 0;
}

/*
 * Class of the place of a dentry in a set whose deepest node lies at `depth`; 0 = no rule. Upper
 * half: enum walk_result, and from bit 8 the flags of the place's own node. A global function with
 * numbers for arguments: the verifier looks at it once, not at each of its calls.
 */
__noinline __u64 find_place(__u64 address, __u32 set, __u32 depth)
{
	struct super_block *sb = kernel_memory(struct dentry, address)->d_sb;
	__u32 zero = 0;
	struct abi_settings *own = bpf_map_lookup_elem(&settings, &zero);
	struct abi_node *node;
	struct walk w = {};

	if (sb->s_flags & SB_NOUSER)
		return (__u64)WALK_PATHLESS << 32;
	if (!own)
		return (__u64)WALK_FAILED << 32;
	w.start = w.at = address;
	w.root = (__u64)sb->s_root;
	w.limit = depth;
	w.place = hash_root(own->hash_key, set, sb->s_dev);
	node = bpf_map_lookup_elem(&nodes, &w.place);
	if (!node && sb->s_flags & SB_KERNMOUNT)
		return (__u64)WALK_PATHLESS << 32;
	if (!node)
		return (__u64)WALK_UNKNOWN_SB << 32;
	w.node = *node;
	bpf_loop(ABI_MAX_WALK, climb, &w, 0);
	/* A namespace: of a super block that the kernel mounts, and in no directory. */
	if (w.failed && !w.depth && sb->s_flags & SB_KERNMOUNT)
		return (__u64)WALK_PATHLESS << 32;
	if (w.failed || !w.done)
		return (__u64)WALK_FAILED << 32;
	w.done = 0;
	bpf_loop(ABI_MAX_DEPTH / ABI_CHUNK + 1, walk_chunk, &w, 0);
	if (w.failed || !w.done)
		return (__u64)WALK_FAILED << 32;
	if (w.found == w.depth)
		return (__u64)w.node.flags << 40 | w.node.exact;
	return w.found + 1 == w.depth ? w.node.child : w.node.deep;
}

static __always_inline __u8 walk_result(__u64 place)
{
	return place >> 32;
}

static __always_inline __u32 node_flags(__u64 place)
{
	return place >> 40;
}

static __always_inline int find_class(struct dentry *dentry, const struct abi_set *set,
				      __u32 *class_id)
{
	__u64 place = find_place((__u64)dentry, set->id, set->depth);

	*class_id = place;
	return walk_result(place);
}

/* Whether the container had a mount of this super block when its rules were applied. */
static __noinline bool is_known_sb(const struct abi_set *set, struct super_block *sb)
{
	__u32 zero = 0;
	struct abi_settings *own = bpf_map_lookup_elem(&settings, &zero);
	__u64 place;

	if (!own)
		return false;
	place = hash_root(own->hash_key, set->id, sb->s_dev);
	return bpf_map_lookup_elem(&nodes, &place) != NULL;
}

#endif
