/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a container has written. The mark is set when a file is opened for writing, whether or not
 * anything is written then, on the file of the overlay and on that of its layer: the latter keeps
 * its number. On file systems that give numbers again a new file may pass for a written one, never
 * the other way round.
 */
#ifndef KADAPTER_TAINT_H
#define KADAPTER_TAINT_H

#define S_IFREG 0100000

static __always_inline void taint_key(struct inode *inode, struct abi_taint_key *key)
{
	key->ino = inode->i_ino;
	key->dev = inode->i_sb->s_dev;
	key->generation = inode->i_generation;
}

static __noinline bool is_tainted(const struct scope *s, struct inode *inode)
{
	struct abi_taint_key key;
	__u32 *writer;

	taint_key(inode, &key);
	writer = bpf_map_lookup_elem(&taints, &key);
	return writer && (*writer == s->container || *writer == ABI_TAINT_SHARED);
}

/* Fails without room: then the file must not be written. */
static __noinline int taint(const struct scope *s, struct inode *inode)
{
	struct abi_taint_key key;
	__u32 container = s->container, *writer;

	if ((inode->i_mode & S_IFMT) != S_IFREG)
		return 0;
	/* A host's overlay splits such a file when it is written: which name gets the new inode is
	 * not known here. */
	if (is_fuse(inode) && inode->i_nlink > 1)
		return -1;
	taint_key(inode, &key);
	writer = bpf_map_lookup_elem(&taints, &key);
	if (!writer)
		return bpf_map_update_elem(&taints, &key, &container, BPF_ANY);
	if (*writer != container)
		*(volatile __u32 *)writer = ABI_TAINT_SHARED;
	return 0;
}

/* The file is gone, and its number may be another's soon. */
static __always_inline void forget_taint(struct inode *inode)
{
	struct abi_taint_key key;

	taint_key(inode, &key);
	bpf_map_delete_elem(&taints, &key);
}

#endif
