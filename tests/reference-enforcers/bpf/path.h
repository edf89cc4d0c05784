/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * From a dentry and its mount to the rules of the path that a peer would compute.
 *
 * Up over dentries and mounts, as the kernel's prepend_path does (fs/d_path.c), then down again: the
 * hash of each prefix of the path is looked up. No path is ever written out.
 */
#ifndef REFERENCE_PATH_H
#define REFERENCE_PATH_H

/* KubeArmor's builder goes so many steps, over a component or out of a mount; what is above is lost.
 * Tetragon's goes further than any path of a test. */
#define NAMESPACE_STEPS 20
#define TASK_STEPS 64

/* A power of two. Of a deeper path the front is lost. */
#define MAX_COMPONENTS 32

/* http://www.isthe.com/chongo/tech/comp/fnv */
#define FNV_BASIS 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

struct walk {
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root;	   /* where it ends; */
	struct vfsmount *root_mnt; /* NULL: at the root of the mount namespace */
	__u64 hash;
	__u32 depth;
	__u32 hooks; /* of all rules found on the way down */
	struct dentry *chain[MAX_COMPONENTS]; /* from the leaf up */
};

static __always_inline struct mount *mount_of(struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

static __always_inline struct vfsmount *vfsmount_of(struct mount *mount)
{
	return (void *)mount + bpf_core_field_offset(struct mount, mnt);
}

/* What BPF_CORE_READ starts from is a variable: of an expression it would relocate the fields too. */
static long climb(__u32 i, void *context)
{
	struct walk *w = context;
	struct dentry *dentry = w->dentry, *parent;
	struct mount *mount = w->mount, *above;

	if (dentry == w->root && vfsmount_of(mount) == w->root_mnt)
		return 1;
	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount)
			return 1;
		w->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		w->mount = above;
		return 0;
	}
	parent = BPF_CORE_READ(dentry, d_parent);
	if (parent == dentry || w->depth == MAX_COMPONENTS)
		return 1;
	w->chain[w->depth & (MAX_COMPONENTS - 1)] = dentry;
	w->depth++;
	w->dentry = parent;
	return 0;
}

static __always_inline __u64 hash_byte(__u64 hash, __u8 byte)
{
	return (hash ^ byte) * FNV_PRIME;
}

struct name {
	const unsigned char *text;
	__u64 hash;
};

static long hash_name(__u32 i, void *context)
{
	struct name *n = context;
	__u8 byte = 0;

	bpf_probe_read_kernel(&byte, sizeof(byte), n->text + i);
	n->hash = hash_byte(n->hash, byte);
	return 0;
}

static __always_inline void collect(struct walk *w, __u32 below)
{
	struct rule *rule = bpf_map_lookup_elem(&rules, &w->hash);

	if (!rule)
		return;
	w->hooks |= rule->tree;
	if (below <= 1)
		w->hooks |= rule->child;
	if (!below)
		w->hooks |= rule->exact;
}

static long step_down(__u32 i, void *context)
{
	struct walk *w = context;
	struct dentry *dentry;
	struct name name;

	if (i >= w->depth)
		return 1;
	dentry = w->chain[(w->depth - 1 - i) & (MAX_COMPONENTS - 1)];
	name.text = BPF_CORE_READ(dentry, d_name.name);
	name.hash = hash_byte(w->hash, '/');
	bpf_loop(BPF_CORE_READ(dentry, d_name.len), hash_name, &name, 0);
	w->hash = name.hash;
	collect(w, w->depth - 1 - i);
	return 0;
}

/* d_path writes " (deleted)" behind the path of what has no name any more, so that no rule matches
 * it; KubeArmor's builder does not look. */
static __always_inline bool is_unlinked(struct dentry *dentry)
{
	return !BPF_CORE_READ(dentry, d_hash.pprev) &&
	       BPF_CORE_READ(dentry, d_parent) != dentry;
}

/* Whether a rule denies this hook on a path. */
static __noinline bool is_denied(struct dentry *dentry, struct vfsmount *mnt, __u32 hook)
{
	struct walk w = { .dentry = dentry, .mount = mount_of(mnt), .hash = FNV_BASIS };
	struct task_struct *task;

	if (to_task_root) {
		if (is_unlinked(dentry))
			return false;
		task = (struct task_struct *)bpf_get_current_task();
		w.root = BPF_CORE_READ(task, fs, root.dentry);
		w.root_mnt = BPF_CORE_READ(task, fs, root.mnt);
	}
	bpf_loop(to_task_root ? TASK_STEPS : NAMESPACE_STEPS, climb, &w, 0);
	collect(&w, w.depth);
	bpf_loop(MAX_COMPONENTS, step_down, &w, 0);
	return w.hooks & hook;
}

#endif
