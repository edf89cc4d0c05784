/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the rules of a set say about one file: by the name used now, and by the inode.
 */
#ifndef KADAPTER_OBJECT_H
#define KADAPTER_OBJECT_H

/* Kernel-internal open flag of execve and of a program's interpreter (include/linux/fs.h). */
#define FMODE_EXEC 0x20
/* In f_mode. */
#define FMODE_WRITE 0x2
/* In f_flags, also of a file that is opened for reading. */
#define O_TRUNC 01000

/* Whether the file lies on a mount of the kernel's own: a pipe, a socket, a memfd, or the layer
 * behind an overlay's file. No allow rule can name it; what names it through a ruled super block
 * still holds. fs/mount.h: MNT_NS_INTERNAL. */
static __always_inline bool is_internal(struct file *file)
{
	void *mnt = file->f_path.mnt;
	struct mount *mount = mnt - bpf_core_field_offset(struct mount, mnt);

	return (long)BPF_CORE_READ(mount, mnt_ns) == -EINVAL;
}

/* Whether the open changes what the file holds, or lets it be changed. */
static __always_inline bool is_written(struct file *file)
{
	return file->f_mode & FMODE_WRITE || file->f_flags & O_TRUNC;
}

/* Decides an exec by name and identity. Returns 0, or -1 if it could not be decided. */
static __always_inline int judge_exec(struct scope *s, struct file *file, struct classes *found,
				      struct outcome *out)
{
	struct abi_set *set = s->set;
	__u64 subject = 0;

	if (!set || current_subject(s, &subject) || classify(s, file, found))
		return -1;
	decide(find_decision(set, found->name, subject, ABI_PROCESS),
	       find_decision(set, found->inode, subject, ABI_PROCESS),
	       unmatched_verdict(set, ABI_PROCESS), out);
	return 0;
}

/* Decides an open by name and identity. Returns 0, or -1 if it could not be decided. */
static __always_inline int judge_open(struct scope *s, struct file *file, struct outcome *out)
{
	struct classes found = {};
	struct abi_set *set = s->set;
	bool for_exec = file->f_flags & FMODE_EXEC;
	__u64 subject = 0;

	if (!set || current_subject(s, &subject) || classify(s, file, &found))
		return -1;
	/* What a script's interpreter reads was judged with its arguments. */
	decide_open(set, &found, subject, for_exec || was_judged(s, found.inode), out);
	/* An exec is the process category's business; a file rule that names the program still holds. */
	if (out->reason == ABI_POSTURE && out->verdict > ABI_ALLOW && (for_exec || is_internal(file)))
		out->verdict = ABI_ALLOW;
	if (is_written(file))
		keep_permitted(set, &found, out);
	return 0;
}

/* Whether a name ends in `.so`, or goes on behind it with a version: programs load it, and nobody executes
 * it. Global, as find_place. */
__noinline int is_library(__u64 text, __u32 len)
{
	__u32 last = 0; /* four bytes */
	__u64 word = 0;

	for (__u32 at = 0; at < ABI_MAX_NAME; at++) {
		if (at >= len)
			break;
		if (at % 8 == 0)
			word = kernel_word(text + at);
		last = last << 8 | (word & 0xff);
		word >>= 8;
		if (last == 0x2e736f2e) /* ".so." */
			return 1;
	}
	return (last & 0xffffff) == 0x2e736f; /* ".so" */
}

/* In a rank, of all objects but directories. */
#define RANK_ABOVE_DIRECTORIES (3u << 16)

/* Whether rules block a program as one of a directory, by its name: where that is asked for, it is not
 * loaded by another program, nor through an overlay, either. Returns -1 if it could not be decided. In its
 * caller, for a walk takes seven of the eight frames that there are. */
static __always_inline int judge_in_directory(struct scope *s, struct file *file, struct outcome *out)
{
	const struct abi_decision *decision;
	struct inode *inode = file->f_inode;
	struct classes found = {};
	__u64 subject = 0;

	if (!inode || !(inode->i_mode & 0111))
		return 0;
	if (!s->set || !s->label || current_subject(s, &subject) || classify(s, file, &found))
		return -1;
	decision = find_decision(s->set, found.name, subject, ABI_PROCESS);
	if (!decision || decision->rank & RANK_ABOVE_DIRECTORIES)
		return 0;
	if (!is_library((__u64)BPF_CORE_READ(file, f_path.dentry, d_name.name),
			BPF_CORE_READ(file, f_path.dentry, d_name.len)))
		decide_as_blocked(decision, 0, out);
	return 0;
}

#endif
