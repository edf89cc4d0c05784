/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What options of a set look at before code is run from a file or from memory.
 */
#ifndef KADAPTER_CODE_H
#define KADAPTER_CODE_H

#define ABI_SET_CODE                                                                               \
	(ABI_SET_TAINT | ABI_SET_NO_UNLINKED_EXEC | ABI_SET_NO_ANONYMOUS_EXEC |                    \
	 ABI_SET_NO_EXECMOD | ABI_SET_KNOWN_FILE_SYSTEMS)

/* Of a super block that the container had no mount of when its rules were applied. The layer behind
 * a known overlay's file is none of the container's mounts, and known by it. */
static __always_inline bool is_foreign(const struct abi_set *set, struct file *file)
{
	struct super_block *sb = file->f_inode->i_sb;

	if (!(set->flags & ABI_SET_KNOWN_FILE_SYSTEMS) || is_known_sb(set, sb))
		return false;
	return !is_internal(file) || sb->s_flags & (SB_KERNMOUNT | SB_NOUSER);
}

/* Whether the file is one of a file system. A map of anything else is a map of memory: a device such as
 * /dev/zero, or what the kernel itself has made of memory, as the rings of io_uring. */
static __always_inline bool is_regular(struct inode *inode)
{
	return (inode->i_mode & S_IFMT) == S_IFREG &&
	       !(inode->i_sb->s_flags & (SB_KERNMOUNT | SB_NOUSER));
}

static __noinline int look_at(const struct scope *s, struct file *file, struct code *c)
{
	const struct abi_set *set = s->set;
	struct inode *inode = file->f_inode;

	if (!set || !inode)
		return -1;
	c->options = set->flags;
	c->has_file = is_regular(inode);
	c->unlinked = inode->i_nlink == 0;
	c->tainted = set->flags & ABI_SET_TAINT && is_tainted(s, inode);
	c->foreign = is_foreign(set, file);
	return 0;
}

#endif
