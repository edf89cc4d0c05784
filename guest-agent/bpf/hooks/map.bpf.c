/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Executable memory: maps of blocked programs (`ld.so PROGRAM` and its kin), and what options say of
 * memory that was written. */

#define PROT_WRITE 0x2
#define PROT_EXEC 0x4
#define MAP_PRIVATE 0x2
#define VM_EXEC 0x4ul
#define VM_SHARED 0x8ul

/* A program that is blocked by its identity is not mapped either, nor one of a directory. */
static __always_inline int map_program(struct scope *s, struct file *file, struct file *shown,
				       __u32 hook)
{
	struct outcome out = {};
	struct inode *inode = file->f_inode;
	__u64 subject = 0;
	__u32 class_id;

	if (!inode || !(s->set->flags & ABI_SET_PROCESS))
		return 0;
	class_id = identity_class(s->set, inode);
	if (class_id && was_judged(s, class_id))
		return 0;
	if (class_id) {
		if (current_subject(s, &subject))
			return refuse(s, NULL, hook, ABI_PROCESS);
		decide(NULL, find_decision(s->set, class_id, subject, ABI_PROCESS), ABI_NONE, &out);
	}
	if (out.verdict != ABI_BLOCK && s->set->flags & ABI_SET_HOLD &&
	    judge_in_directory(s, file, &out))
		return refuse(s, NULL, hook, ABI_PROCESS);
	return out.verdict == ABI_BLOCK ? conclude(s, &out, shown, hook, ABI_PROCESS) : 0;
}

static __noinline int map_executable(struct file *file, struct code *code, __u32 hook)
{
	struct scope s;
	int scope = enter(&s, own_label()), denied;
	__u8 primitive;

	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return refuse(&s, NULL, hook, ABI_PROCESS);
	if (file) {
		denied = map_program(&s, file, file, hook);
		if (denied)
			return denied;
	}
	if (!(s.set->flags & ABI_SET_CODE))
		return 0;
	code->options = s.set->flags;
	if (file && look_at(&s, file, code))
		return refuse(&s, NULL, hook, ABI_PROCESS);
	primitive = refuse_map(code);
	return primitive ? refuse_by(&s, primitive, file, hook) : 0;
}

SEC("lsm/mmap_file")
int BPF_PROG(mmap_file, struct file *file, unsigned long reqprot, unsigned long prot,
	     unsigned long flags, int ret)
{
	struct code code = {};

	if (ret)
		return ret;
	if (!(prot & PROT_EXEC) || is_unlabelled())
		return 0;
	code.writable = prot & PROT_WRITE && flags & MAP_PRIVATE;
	/* NULL for anonymous memory. */
	return map_executable(is_null(file) ? NULL : file, &code, ABI_MMAP_FILE);
}

SEC("lsm/file_mprotect")
int BPF_PROG(file_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot,
	     int ret)
{
	struct code code = {};
	bool private;

	if (ret)
		return ret;
	if (!(prot & PROT_EXEC) || is_unlabelled())
		return 0;
	/* What stays executable and does not become writable was decided before. */
	if (vma->vm_flags & VM_EXEC && !(prot & PROT_WRITE))
		return 0;
	private = !(vma->vm_flags & VM_SHARED);
	code.writable = prot & PROT_WRITE && private;
	code.modified = private && vma->anon_vma;
	return map_executable(vma->vm_file, &code, ABI_FILE_MPROTECT);
}

/* The file behind that of an overlay, which may be one that the container has mounted itself. Kernels have
 * this hook from some release of 6.12 on; without it such a map is judged by the file in front alone. */
static __noinline int map_behind(struct file *backing, struct file *front)
{
	struct scope s;
	int scope = enter(&s, own_label());

	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return refuse(&s, front, ABI_MMAP_BACKING_FILE, ABI_PROCESS);
	return map_program(&s, backing, front, ABI_MMAP_BACKING_FILE);
}

SEC("lsm/mmap_backing_file")
int BPF_PROG(mmap_backing_file, struct vm_area_struct *vma, struct file *backing,
	     struct file *front, int ret)
{
	if (ret || is_unlabelled())
		return ret;
	return vma->vm_flags & VM_EXEC ? map_behind(backing, front) : 0;
}
