/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Opens of which nothing speaks: nearly all. They were decided before, on the way that decides all
 * others, and nothing has changed since. What is not certain here goes that way again.
 */
#ifndef KADAPTER_SETTLED_H
#define KADAPTER_SETTLED_H

static __always_inline bool is_settled(struct task_struct *current, struct file *file)
{
	struct inode *inode = file->f_inode;
	struct abi_label *label;
	struct scope s;
	__u32 renames;
	__u64 settled;

	if (file->f_flags & FMODE_EXEC || !inode || !glance(current, &s))
		return false;
	if (!(s.set->flags & ABI_SET_OPENS))
		return true;
	if (s.set->flags & (ABI_SET_TAINT | ABI_SET_NO_POKE | ABI_SET_ALLOW_GUARD) &&
	    is_written(file))
		return false;
	if (is_of_unknown_share(s.set, inode))
		return false;
	if (is_nobodys(s.set, file->f_path.dentry, inode))
		return true;
	label = bpf_inode_storage_get(&labels, inode, NULL, 0);
	/* The period before the stamp: they are written in the other order. */
	if (!label || *(volatile __u32 *)&label->period != now())
		return false;
	barrier();
	settled = *(volatile __u64 *)&label->settled;
	return !read_renames(&renames) && settled == stamp(s.set->id, renames);
}

#endif
