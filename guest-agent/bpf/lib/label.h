/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Classes of a file: kept in its inode, or found by a walk.
 *
 * A name that was found holds as long as nothing was renamed anywhere: every rename moves the
 * sequence of the kernel's rename_lock (fs/dcache.c, __d_move), which is read before and after a
 * walk, and compared when a label is used. So a label needs no hook on renames, has no window
 * between a hook and the rename, and a walk that a rename overtook is known as such. The sequence
 * has 32 bits: a label expires before anybody can have renamed so often that it is the same again.
 * Of an inode with several names nothing is kept, nor on file systems that others change behind the
 * kernel's back: there a walk costs little beside the open.
 */
#ifndef KADAPTER_LABEL_H
#define KADAPTER_LABEL_H

#define S_IFMT 00170000
#define S_IFDIR 0040000

/* Tries before it gives up and denies: a rename lasts microseconds, but a virtual processor may be
 * stopped in the middle of one, for as long as its host has others to run: this is some 100 ms. */
#define MAX_WALKS (1 << 18)

/* Ticks for which a label holds, as a shift: a minute at 250 a second, four times that or a quarter
 * of it at others. 2^31 renames in that time would be one in 30 ns, under one lock. */
#define LABEL_TICKS_SHIFT 14

static __always_inline __u32 now(void)
{
	return bpf_jiffies64() >> LABEL_TICKS_SHIFT;
}

/* Sequence of rename_lock; fails if it is not known, or a rename is under way. */
static __always_inline int read_renames(__u32 *renames)
{
	__u32 zero = 0;
	struct abi_settings *known = bpf_map_lookup_elem(&settings, &zero);

	if (!known || !known->rename_sequence)
		return -1;
	*renames = kernel_memory(struct seqcount, known->rename_sequence)->sequence;
	return *renames & 1 ? -1 : 0;
}

static __always_inline bool has_one_name(struct inode *inode)
{
	return (inode->i_mode & S_IFMT) == S_IFDIR || inode->i_nlink == 1;
}

/* A set and a state of all names; never zero. */
static __always_inline __u64 stamp(__u32 set, __u32 renames)
{
	return (__u64)set << 32 | renames;
}

static __always_inline bool read_label(struct abi_label *label, const struct abi_set *set,
				       struct inode *inode, struct classes *found)
{
	__u32 version = *(volatile __u32 *)&label->version, renames;
	bool holds;

	if (version & 1 || read_renames(&renames))
		return false;
	holds = label->stamp == stamp(set->id, renames) && label->period == now() && !label->linked;
	found->name = label->name_class;
	found->inode = label->inode_class;
	barrier();
	return holds && *(volatile __u32 *)&label->version == version && has_one_name(inode);
}

/* Whoever comes second leaves it to the first. A link that comes in between is not overlooked: it
 * marks the inode and then takes `settled` back, here that is written and then the mark is read. */
static __noinline int write_label(struct inode *inode, __u64 found_at, bool settled,
				  const struct classes *found)
{
	struct abi_label *label =
		bpf_inode_storage_get(&labels, inode, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	__u32 version;

	if (!label || label->linked)
		return 0;
	version = *(volatile __u32 *)&label->version;
	if (version & 1 ||
	    __sync_val_compare_and_swap(&label->version, version, version + 1) != version)
		return 0;
	*(volatile __u64 *)&label->settled = 0;
	barrier();
	label->period = now();
	label->stamp = found_at;
	label->name_class = found->name;
	label->inode_class = found->inode;
	barrier();
	__sync_lock_test_and_set(&label->settled, settled ? found_at : 0);
	if (*(volatile __u32 *)&label->linked)
		*(volatile __u64 *)&label->settled = 0;
	barrier();
	*(volatile __u32 *)&label->version = version + 2;
	return 0;
}

struct attempt {
	__u64 dentry; /* its address */
	struct abi_set *set;
	__u64 place; /* what find_place said */
	__u32 renames;
	__u8 steady; /* no rename came between */
	__u8 known;  /* the sequence can be read */
};

static long try_walk(__u32 i, void *context)
{
	struct attempt *a = context;
	__u32 zero = 0, after = 0;
	struct abi_settings *own = bpf_map_lookup_elem(&settings, &zero);

	a->known = own && own->rename_sequence;
	if (a->known && read_renames(&a->renames))
		return 0;
	a->place = find_place(a->dentry, a->set->id, a->set->depth);
	a->steady = !a->known || (!read_renames(&after) && after == a->renames);
	return a->steady;
}

/* The number of a pointer that the verifier knows as one. */
static __always_inline __u64 address_of(const void *pointer)
{
	const void *copy = pointer;
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &copy);
	return address;
}

/* Walks until no rename came between. Returns 0, or -1 if it cannot tell. */
static __always_inline int walk_steadily(struct attempt *a)
{
	bpf_loop(MAX_WALKS, try_walk, a, 0);
	return !a->steady || walk_result(a->place) == WALK_FAILED ? -1 : 0;
}

/* Whether the container had a mount of this share of the host when its rules were applied, as far as
 * that is seen at a glance. */
static __always_inline bool is_known_share(const struct abi_set *set, struct inode *inode)
{
	__u32 dev = inode->i_sb->s_dev;

	for (int i = 0; i < ABI_MAX_SHARES; i++)
		if (set->shares[i] == dev)
			return true;
	return false;
}

/* A share that the container mounted by its tag may hold another pod's files. */
static __always_inline bool is_of_unknown_share(const struct abi_set *set, struct inode *inode)
{
	return is_fuse(inode) && !is_known_share(set, inode);
}

/* Walks, and keeps what it found. Returns 0, or -1 if it cannot tell. */
static __noinline int find_classes(struct scope *s, struct file *file, struct classes *found)
{
	struct inode *inode = file->f_inode;
	struct attempt a = {};

	s->cause = ABI_CAUSE_PLACE;
	if (!s->set || !inode)
		return -1;
	a.dentry = (__u64)BPF_CORE_READ(file, f_path.dentry);
	a.set = s->set;
	if (walk_steadily(&a))
		return -1;
	if (walk_result(a.place) == WALK_UNKNOWN_SB && is_fuse(inode))
		return -1;
	found->name = a.place;
	found->inode = identity_class(s->set, inode);
	if (a.known && walk_result(a.place) != WALK_PATHLESS && has_one_name(inode) &&
	    keeps_names(inode))
		write_label(inode, stamp(s->set->id, a.renames), settles(s->set, found), found);
	return 0;
}

static __always_inline int classify(struct scope *s, struct file *file, struct classes *found)
{
	struct inode *inode = file->f_inode;
	struct abi_label *label;

	if (!s->set || !inode)
		return -1;
	if (is_unruled(s->set, file->f_path.dentry) && !is_of_unknown_share(s->set, inode)) {
		found->name = 0;
		found->inode = identity_class(s->set, inode);
		return 0;
	}
	label = bpf_inode_storage_get(&labels, inode, NULL, 0);
	if (label && read_label(label, s->set, inode, found))
		return 0;
	return find_classes(s, file, found);
}

#endif
