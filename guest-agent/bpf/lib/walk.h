/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * From a dentry to the classes of its place: up to the root of its super block to learn the depth,
 * up again to hash the names nearest to the root, down the trie as far as it goes. Names below the
 * deepest rule are never hashed. Relative to the super block's root, so chroot, bind mounts and
 * mount namespaces change nothing.
 */
#ifndef KADAPTER_WALK_H
#define KADAPTER_WALK_H

/* fs/internal super blocks: pipes, sockets, memfd. Nobody can name what is in them. */
#define SB_KERNMOUNT (1ul << 22)
#define SB_NOUSER (1ul << 31)

struct walk {
	const struct abi_settings *settings;
	struct dentry *dentry; /* where the walk is */
	struct dentry *start;
	struct dentry *root;
	__u32 depth; /* components between root and start */
	__u32 limit; /* components to hash: no node is deeper */
	__u32 base;  /* first component of the chunk */
	__u32 found; /* components down to the deepest node found */
	__u64 place;
	struct abi_node node; /* the deepest node found */
	__u8 failed;
	__u8 done;
	__u64 names[ABI_CHUNK];
};

enum walk_result { WALK_OK = 0, WALK_PATHLESS = 1, WALK_UNKNOWN_SB = 2, WALK_FAILED = 3 };

static long count_up(__u32 i, void *context)
{
	struct walk *w = context;
	struct dentry *dentry = w->dentry, *parent;

	if (dentry == w->root) {
		w->done = 1;
		return 1;
	}
	parent = BPF_CORE_READ(dentry, d_parent);
	if (!parent || parent == dentry) {
		/* A disconnected dentry: opened by handle, its name is unknown. */
		w->failed = 1;
		return 1;
	}
	w->dentry = parent;
	w->depth++;
	return 0;
}

struct name_hash {
	struct sip sip;
	const unsigned char *name;
	__u32 len;
	__u8 failed;
	__u8 done;
};

static long hash_word(__u32 i, void *context)
{
	struct name_hash *n = context;
	__u64 left = n->len - i * 8, word = 0;

	if (left >= 8) {
		n->failed = bpf_probe_read_kernel(&word, 8, n->name + i * 8) != 0;
		sip_word(&n->sip, word);
		return n->failed;
	}
	/* In assembly: the compiler knows that it is less than 8 and would drop what the verifier
	 * needs to see. */
	asm volatile("%[left] &= 7" : [left] "+r"(left));
	n->failed = bpf_probe_read_kernel(&word, left, n->name + i * 8) != 0;
	sip_word(&n->sip, word | (__u64)n->len << 56);
	n->done = 1;
	return 1;
}

/* Hash of a name, read in words: bpf_loop keeps stack and verification small. */
static __always_inline int hash_name(const __u64 *key, struct dentry *dentry, __u64 *hash)
{
	struct name_hash n = {
		.name = BPF_CORE_READ(dentry, d_name.name),
		.len = BPF_CORE_READ(dentry, d_name.len),
	};

	if (n.len > ABI_MAX_NAME)
		return -1;
	sip_start(&n.sip, key);
	bpf_loop(ABI_MAX_NAME / 8 + 1, hash_word, &n, 0);
	if (n.failed || !n.done)
		return -1;
	*hash = sip_finish(&n.sip);
	return 0;
}

static long hash_up(__u32 i, void *context)
{
	struct walk *w = context;
	struct dentry *dentry = w->dentry;
	__u32 component = w->depth - 1 - i;
	__u64 hash;

	if (i >= w->depth || component < w->base)
		return 1;
	if (component < w->base + ABI_CHUNK && component < w->limit) {
		if (hash_name(w->settings->hash_key, dentry, &hash)) {
			w->failed = 1;
			return 1;
		}
		w->names[component & (ABI_CHUNK - 1)] = hash;
	}
	w->dentry = BPF_CORE_READ(dentry, d_parent);
	return 0;
}

static long step_down(__u32 i, void *context)
{
	struct walk *w = context;
	__u32 component = w->base + i;
	struct abi_node *node;

	if (component >= w->depth || component >= w->limit) {
		w->done = 1;
		return 1;
	}
	w->place = hash_pair(w->settings->hash_key, w->place, w->names[i & (ABI_CHUNK - 1)]);
	node = bpf_map_lookup_elem(&nodes, &w->place);
	if (!node) {
		w->done = 1;
		return 1;
	}
	w->node = *node;
	w->found = component + 1;
	return 0;
}

static long walk_chunk(__u32 i, void *context)
{
	struct walk *w = context;

	w->base = i * ABI_CHUNK;
	w->dentry = w->start;
	bpf_loop(ABI_MAX_WALK, hash_up, w, 0);
	/* A rename overtook the walk: the names are of no path. */
	if (!i && w->dentry != w->root)
		w->failed = 1;
	if (w->failed)
		return 1;
	bpf_loop(ABI_CHUNK, step_down, w, 0);
	return w->done ? 1 : 0;
}

/*
 * Class of the place of a dentry in a set whose deepest node lies at `depth`; 0 = no rule. Upper
 * half: enum walk_result. A global function with numbers for arguments: the verifier looks at it
 * once, not at each of its calls.
 */
__noinline __u64 find_place(__u64 address, __u32 set, __u32 depth)
{
	struct dentry *dentry = (void *)address;
	struct super_block *sb = BPF_CORE_READ(dentry, d_sb);
	unsigned long flags = BPF_CORE_READ(sb, s_flags);
	__u32 zero = 0, dev = BPF_CORE_READ(sb, s_dev);
	struct abi_node *node;
	struct walk w = {};

	if (flags & (SB_KERNMOUNT | SB_NOUSER))
		return (__u64)WALK_PATHLESS << 32;
	w.settings = bpf_map_lookup_elem(&settings, &zero);
	if (!w.settings)
		return (__u64)WALK_FAILED << 32;
	w.start = w.dentry = dentry;
	w.root = BPF_CORE_READ(sb, s_root);
	w.limit = depth;
	w.place = hash_pair(w.settings->hash_key, set, dev);
	node = bpf_map_lookup_elem(&nodes, &w.place);
	if (!node)
		return (__u64)WALK_UNKNOWN_SB << 32;
	w.node = *node;
	bpf_loop(ABI_MAX_WALK, count_up, &w, 0);
	if (w.failed || !w.done)
		return (__u64)WALK_FAILED << 32;
	w.done = 0;
	bpf_loop(ABI_MAX_DEPTH / ABI_CHUNK + 1, walk_chunk, &w, 0);
	if (w.failed || !w.done)
		return (__u64)WALK_FAILED << 32;
	if (w.found == w.depth)
		return w.node.exact;
	return w.found + 1 == w.depth ? w.node.child : w.node.deep;
}

static __always_inline int find_class(struct dentry *dentry, const struct abi_set *set,
				      __u32 *class_id)
{
	__u64 place = find_place((__u64)dentry, set->id, set->depth);

	*class_id = place;
	return place >> 32;
}

#endif
