/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Executable maps of files that are blocked by identity: `ld.so PROGRAM` and its kin. */

#define PROT_EXEC 0x4

static __always_inline int map_executable(struct file *file, __u8 hook)
{
	struct outcome out = {};
	struct inode *inode = file->f_inode;
	struct scope s;
	int scope = enter(&s, own_label());
	__u32 subject = 0, class_id;

	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return refuse(&s, NULL, hook, ABI_PROCESS);
	if (!inode || !(s.set->flags & ABI_SET_PROCESS))
		return 0;
	class_id = identity_class(s.set, inode);
	if (!class_id)
		return 0;
	if (current_subject(&s, &subject))
		return refuse(&s, NULL, hook, ABI_PROCESS);
	decide(NULL, find_decision(s.set, class_id, subject, ABI_PROCESS), ABI_NONE, &out);
	if (out.verdict != ABI_BLOCK)
		return 0;
	return conclude(&s, &out, file, hook, ABI_PROCESS);
}

SEC("lsm/mmap_file")
int BPF_PROG(mmap_file, struct file *file, unsigned long reqprot, unsigned long prot,
	     unsigned long flags, int ret)
{
	if (ret)
		return ret;
	if (!file || !(prot & PROT_EXEC) || is_unlabelled())
		return 0;
	return map_executable(file, ABI_MMAP_FILE);
}

SEC("lsm/file_mprotect")
int BPF_PROG(file_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot,
	     int ret)
{
	struct file *file;

	if (ret)
		return ret;
	if (!(prot & PROT_EXEC) || is_unlabelled())
		return 0;
	file = vma->vm_file;
	return file ? map_executable(file, ABI_FILE_MPROTECT) : 0;
}
