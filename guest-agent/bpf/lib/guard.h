/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Tasks without a label. In PID 1's mount namespace or root they are the guest's own. Elsewhere
 * they belong to a container: of the nearest registered ancestor cgroup (an exec that joins one: from
 * the program on that it opens), or of none, and then they may not exec.
 */
#ifndef KADAPTER_GUARD_H
#define KADAPTER_GUARD_H

static __always_inline bool is_guests_own(struct task_struct *task)
{
	__u32 zero = 0;
	struct abi_settings *own = bpf_map_lookup_elem(&settings, &zero);
	struct dentry *root;

	if (!own)
		return false;
	if (task->nsproxy->mnt_ns->ns.inum == own->init_mnt_ns)
		return true;
	root = task->fs->root.dentry;
	return root->d_inode->i_ino == own->init_root_ino &&
	       root->d_sb->s_dev == own->init_root_dev;
}

/* Slot of the nearest registered cgroup; NULL if there is none. */
static __always_inline __u32 *slot_of_cgroup(void)
{
	__u64 id = bpf_get_current_cgroup_id();
	__u32 *slot = bpf_map_lookup_elem(&cgroups, &id);

	for (int level = ABI_MAX_CGROUP_LEVELS; !slot && level > 0; level--) {
		id = bpf_get_current_ancestor_cgroup_id(level);
		if (id)
			slot = bpf_map_lookup_elem(&cgroups, &id);
	}
	return slot;
}

/* Gives the label of its cgroup to a task that joined a container. */
static __noinline int adopt(struct scope *s)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct abi_task fresh = {};
	struct abi_slot *slot;
	__u32 *index;

	if (is_guests_own(task))
		return OUT_OF_SCOPE;
	index = slot_of_cgroup();
	if (!index)
		return BROKEN_SCOPE;
	if (*index == ABI_SLOT_EXEMPT)
		return OUT_OF_SCOPE;
	fresh.slot = *index;
	fresh.pending = 1;
	slot = bpf_map_lookup_elem(&slots, &fresh.slot);
	if (!slot)
		return BROKEN_SCOPE;
	fresh.container = slot->container;
	s->label = bpf_task_storage_get(&tasks, task, &fresh, BPF_LOCAL_STORAGE_GET_F_CREATE);
	return s->label ? enter_with(s, s->label) : BROKEN_SCOPE;
}

#endif
