/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Kernel memory by address, read in place: what is not there reads as zero. A load costs a few
 * instructions where bpf_probe_read_kernel costs fifty.
 *
 * bpf_rdonly_cast is a kfunc, which the verifier turns into a move. The loader knows no kfuncs, so
 * the call carries a number that src/kfunc.rs replaces with the function's BTF id.
 */
#ifndef KADAPTER_CAST_H
#define KADAPTER_CAST_H

#define KFUNC_RDONLY_CAST 0x7f000001

static void *(*const bpf_rdonly_cast)(const void *address, __u32 type) =
	(void *)KFUNC_RDONLY_CAST;

#define kernel_memory(type, address)                                                               \
	((type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(type)))

/* Whether a pointer is NULL. The verifier takes each argument of a hook, and the inode of a dentry, for a
 * pointer that is never NULL: it drops a plain test, and what follows faults in the kernel. It does not
 * know where a cast comes from, so that test stays. The plain test is for kernels that say of a pointer
 * that it may be NULL (`__nullable`), and want to see it.
 * https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/verifier.c#L390 */
#define is_null(pointer)                                                                           \
	(!bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(struct inode)) || !(pointer))

/* NULL for a name that no file has, as one that is made or renamed to. */
static __always_inline struct inode *inode_of(struct dentry *dentry)
{
	struct inode *inode = dentry->d_inode;

	return is_null(inode) ? NULL : inode;
}

#endif
