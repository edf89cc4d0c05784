/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Copies that an overlay makes of a lower file before it changes it. The copy is the same file to
 * whoever uses it, and another inode: what holds of the one passes to the other. The kernel says
 * which file it copies up, and then opens the copy for writing, as a file of its own; the task's
 * label carries the one to the other.
 */
#ifndef KADAPTER_COPY_H
#define KADAPTER_COPY_H

static __always_inline int begin_copy(struct scope *s, struct inode *inode)
{
	struct abi_task *label = s->label;

	if (!label || !s->set)
		return -1;
	label->copy_set = s->set->id;
	label->copy_class = identity_class(s->set, inode);
	label->copying = s->set->flags & ABI_SET_TAINT && is_tainted(s, inode) ?
				 ABI_COPYING_TAINTED :
				 ABI_COPYING_CLEAN;
	return 0;
}

/* Called for the next file that the task opens for writing, if it is the kernel's own. */
static __noinline int end_copy(struct scope *s, struct inode *inode)
{
	struct abi_task *label = s->label;
	struct abi_inode_key key;
	__u32 class_id, copying;

	if (!label || !s->set)
		return -1;
	copying = label->copying;
	class_id = label->copy_class;
	label->copying = ABI_NOT_COPYING;
	if (copying == ABI_COPYING_TAINTED && taint(s, inode))
		return -1;
	/* Of a set that was replaced meanwhile: the agent has looked for its files anew, and may have
	 * found them before this copy. */
	if (class_id && label->copy_set != s->set->id)
		return -1;
	if (!class_id)
		return 0;
	if (inode_key(inode, s->set->id, &key) || take_inode(s->container))
		return -1;
	return hold_inode(inode, &key, class_id);
}

#endif
