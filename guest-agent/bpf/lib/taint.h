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
	struct abi_writer *writer;

	taint_key(inode, &key);
	writer = bpf_map_lookup_elem(&taints, &key);
	return writer &&
	       (writer->container == s->container || writer->container == ABI_TAINT_SHARED);
}

/* Of a container that is gone no quota is left: who writes the file next has it in his own. */
static __always_inline void pay_for(struct abi_writer *writer, __u32 container)
{
	__u32 payer = writer->payer;
	struct abi_quota *own;

	if (payer == container || bpf_map_lookup_elem(&quotas, &payer))
		return;
	own = bpf_map_lookup_elem(&quotas, &container);
	if (own && __sync_val_compare_and_swap(&writer->payer, payer, container) == payer)
		__sync_fetch_and_add(&own->taints, 1);
}

static __noinline int add_taint(__u32 container, const struct abi_taint_key *inode)
{
	struct abi_writer fresh = { .container = container, .payer = container };
	struct abi_taint_key key = *inode;

	if (take_taint(container))
		return -1;
	if (!bpf_map_update_elem(&taints, &key, &fresh, BPF_NOEXIST))
		return 0;
	return_taint(container);
	return -1;
}

/* Fails without room: then the file must not be written. */
static __noinline int taint(const struct scope *s, struct inode *inode)
{
	struct abi_taint_key key;
	struct abi_writer *writer;
	__u32 container = s->container;

	if ((inode->i_mode & S_IFMT) != S_IFREG)
		return 0;
	/* A host's overlay splits such a file when it is written: which name gets the new inode is
	 * not known here. */
	if (is_fuse(inode) && inode->i_nlink > 1)
		return -1;
	taint_key(inode, &key);
	writer = bpf_map_lookup_elem(&taints, &key);
	if (!writer && !add_taint(container, &key))
		return 0;
	/* Two may have come at once. */
	if (!writer)
		writer = bpf_map_lookup_elem(&taints, &key);
	if (!writer)
		return -1;
	if (writer->container != container)
		*(volatile __u32 *)&writer->container = ABI_TAINT_SHARED;
	pay_for(writer, container);
	return 0;
}

/* The file is gone, and its number may be another's soon. */
static __always_inline void forget_taint(struct inode *inode)
{
	struct abi_taint_key key;
	struct abi_writer *writer;
	__u32 payer;

	taint_key(inode, &key);
	writer = bpf_map_lookup_elem(&taints, &key);
	if (!writer)
		return;
	payer = writer->payer;
	if (!bpf_map_delete_elem(&taints, &key))
		return_taint(payer);
}

#endif
