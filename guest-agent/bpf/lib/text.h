/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Names of the kernel, read by words. A name lies in a dentry or in memory of its own, at a multiple
 * of eight in either, so that no word crosses a page; what lies behind a name is cut off.
 */
#ifndef KADAPTER_TEXT_H
#define KADAPTER_TEXT_H

/* Any structure that begins with a word will do to read words through. */
static __always_inline __u64 kernel_word(__u64 address)
{
	return kernel_memory(struct timespec64, address)->tv_sec;
}

/* Mask of the first bytes of a word, less than eight, in the order of memory. */
static __always_inline __u64 low_bytes(__u32 count)
{
	return (1ull << (count * 8 & 63)) - 1;
}

/* Whether a name is that of a directory which an atomic writer fills and then links to, as the
 * kubelet does for secrets: `..` and a time. */
static __always_inline bool starts_as_version(__u64 word)
{
	return (word & 0xffff) == 0x2e2e;
}

/* A text of the process with its NUL, as far as there is room. Returns its length, or less than 1. The
 * helper has no length for an empty one.
 * https://github.com/torvalds/linux/blob/v6.12/mm/maccess.c#L174 */
static __always_inline long read_user_text(void *to, __u32 size, __u64 address)
{
	long len = bpf_probe_read_user_str(to, size, (void *)address);

	return len ? len : 1;
}

#endif
