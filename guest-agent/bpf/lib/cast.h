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

#endif
