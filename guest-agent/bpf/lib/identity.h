/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Objects held by identity: by what the kernel itself calls the inode, not what stat(2) says.
 */
#ifndef KADAPTER_IDENTITY_H
#define KADAPTER_IDENTITY_H

static __always_inline void inode_key(struct inode *inode, __u32 set, struct abi_inode_key *key)
{
	key->set = set;
	key->dev = inode->i_sb->s_dev;
	key->ino = inode->i_ino;
	key->generation = inode->i_generation;
	key->pad = 0;
}

static __noinline __u32 identity_class(const struct abi_set *set, struct inode *inode)
{
	struct abi_inode_key key;
	__u32 *class_id;

	if (!(set->flags & ABI_SET_IDENTITY))
		return 0;
	inode_key(inode, set->id, &key);
	class_id = bpf_map_lookup_elem(&inodes, &key);
	return class_id ? *class_id : 0;
}

#endif
