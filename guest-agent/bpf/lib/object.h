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

/* Whether the file lies on a mount of the kernel's own: a pipe, a socket, a memfd, or the layer
 * behind an overlay's file. No allow rule can name it; what names it through a ruled super block
 * still holds. fs/mount.h: MNT_NS_INTERNAL. */
static __always_inline bool is_internal(struct file *file)
{
	void *mnt = file->f_path.mnt;
	struct mount *mount = mnt - bpf_core_field_offset(struct mount, mnt);

	return (long)BPF_CORE_READ(mount, mnt_ns) == -EINVAL;
}

/* Decides an exec by name and identity. Returns 0, or -1 if it could not be decided. */
static __always_inline int judge_exec(struct scope *s, struct file *file, struct classes *found,
				      struct outcome *out)
{
	struct abi_set *set = s->set;
	__u32 subject = 0;

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
	__u32 subject = 0;

	if (!set || current_subject(s, &subject) || classify(s, file, &found))
		return -1;
	/* What a script's interpreter reads was judged with its arguments. */
	decide_open(set, &found, subject, for_exec || was_judged(s, found.inode), out);
	/* An exec is the process category's business; a file rule that names the program still holds. */
	if (out->reason == ABI_POSTURE && out->verdict > ABI_ALLOW && (for_exec || is_internal(file)))
		out->verdict = ABI_ALLOW;
	return 0;
}

#endif
