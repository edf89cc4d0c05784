/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Objects held by identity: by what the kernel itself calls the inode, not what stat(2) says. Where
 * others than this kernel give numbers to inodes, and give them again, a token of ours stands for the
 * inode; the agent holds it in memory.
 */
#ifndef KADAPTER_IDENTITY_H
#define KADAPTER_IDENTITY_H

/* include/uapi/linux/magic.h: file systems whose names change only under rename_lock, and whose
 * inodes keep their numbers. */
static __always_inline bool keeps_names(struct inode *inode)
{
	switch (inode->i_sb->s_magic) {
	case 0x01021994: /* tmpfs */
	case 0x858458f6: /* ramfs */
	case 0xef53:	 /* ext4 */
	case 0x58465342: /* xfs */
	case 0xe0f5e1e2: /* erofs */
	case 0x794c7630: /* overlay */
		return true;
	default:
		return false;
	}
}

static __always_inline bool is_fuse(struct inode *inode)
{
	return inode->i_sb->s_magic == 0x65735546;
}

/* By the number alone, which is read at once: an inode of this number on another file system costs
 * its users a look-up. */
static __always_inline __u32 inode_index(struct inode *inode)
{
	return filter_index(inode->i_ino, 0, 0);
}

/* Whether no set holds this inode. */
static __always_inline bool is_unknown_inode(struct inode *inode)
{
	struct abi_filter *held;
	__u32 zero = 0;

	if (!keeps_names(inode))
		return !bpf_inode_storage_get(&tokens, inode, NULL, 0);
	held = bpf_map_lookup_elem(&known_inodes, &zero);
	return held && !has_bit(held, inode_index(inode));
}

/* Fails if the inode has no token, hence is nobody's object. */
static __always_inline int inode_key(struct inode *inode, __u32 set, struct abi_inode_key *key)
{
	__u64 *token;

	key->set = set;
	key->pad = 0;
	if (keeps_names(inode)) {
		key->dev = inode->i_sb->s_dev;
		key->ino = inode->i_ino;
		key->generation = inode->i_generation;
		return 0;
	}
	token = bpf_inode_storage_get(&tokens, inode, NULL, 0);
	if (!token)
		return -1;
	key->dev = 0;
	/* Volatile, or the compiler reads this and the inode's number by one instruction, which the
	 * verifier refuses to have two kinds of pointers. */
	key->ino = *(volatile __u64 *)token;
	key->generation = 0;
	return 0;
}

/* Gives the inode a token, if it needs one and has none. Only the agent's thread comes here, so that
 * the time is never the same twice. */
static __always_inline int give_token(struct inode *inode)
{
	__u64 fresh = bpf_ktime_get_ns();

	if (keeps_names(inode))
		return 0;
	return bpf_inode_storage_get(&tokens, inode, &fresh, BPF_LOCAL_STORAGE_GET_F_CREATE) ? 0 : -1;
}

/* Holds an inode for a class; the bit comes first, so that nobody misses it. */
static __always_inline int hold_inode(struct inode *inode, const struct abi_inode_key *key,
				      __u32 class_id)
{
	__u32 zero = 0, index = inode_index(inode);
	struct abi_filter *held = bpf_map_lookup_elem(&known_inodes, &zero);

	if (!held)
		return -1;
	add_bit(held, index);
	return bpf_map_update_elem(&inodes, key, &class_id, BPF_ANY);
}

static __noinline __u32 identity_class(const struct abi_set *set, struct inode *inode)
{
	struct abi_inode_key key;
	__u32 *class_id;

	if (!(set->flags & ABI_SET_IDENTITY) || is_unknown_inode(inode))
		return 0;
	if (inode_key(inode, set->id, &key))
		return 0;
	class_id = bpf_map_lookup_elem(&inodes, &key);
	return class_id ? *class_id : 0;
}

/* What is said of a class at a device that no inode is of; 0 = nothing. */
static __noinline __u32 said_of(__u32 set, __u32 class_id, __u32 dev, __u64 what)
{
	struct abi_inode_key key = {
		.set = set,
		.dev = dev,
		.ino = what,
		.generation = class_id,
	};
	__u32 *said = class_id ? bpf_map_lookup_elem(&inodes, &key) : NULL;

	return said ? *said : 0;
}

#endif
