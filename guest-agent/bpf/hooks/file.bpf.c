/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Files: may this file be opened. Also where the agent's own opens record identities. */

/* Records an inode that the agent opens. On an overlay this runs for the overlay's inode and for
 * the layer's, which is the one that keeps its number. */
static __noinline int record(struct file *file, struct abi_probe *probe)
{
	struct abi_inode_key key;
	__u32 class_id, *known;

	class_id = probe->class_id;
	if (give_token(file->f_inode) || inode_key(file->f_inode, probe->set, &key)) {
		probe->failed++;
		return 0;
	}
	known = bpf_map_lookup_elem(&inodes, &key);
	if (known && *known != class_id)
		probe->met = *known;
	if (hold_inode(file->f_inode, &key, class_id))
		probe->failed++;
	else
		probe->seen++;
	return 0;
}

static __always_inline void record_identity(struct file *file)
{
	__u32 zero = 0;
	struct abi_probe *probe = bpf_map_lookup_elem(&probes, &zero);

	if (probe && probe->thread && probe->thread == (__u32)bpf_get_current_pid_tgid())
		record(file, probe);
}

/* A program that is blocked by identity is stopped as soon as execve opens it: this is where a
 * mount of a layer, an ELF interpreter and a detached tree come by. What is only audited waits for
 * bprm_check_security, so that nothing is reported twice. */
static __always_inline int open_for_exec(struct scope *s, struct file *file, struct outcome *out)
{
	/* The layer's file is the one whose mark is sure. */
	if (s->set->flags & ABI_SET_TAINT && is_tainted(s, file->f_inode))
		return refuse_by(s, ABI_TAINT, file, ABI_FILE_OPEN);
	if (!(s->set->flags & ABI_SET_PROCESS) ||
	    !identity_class(s->set, file->f_inode))
		return 0;
	if (judge_exec(s, file, out))
		return refuse(s, file, ABI_FILE_OPEN, ABI_PROCESS);
	/* A layer's file has no name that a whitelist could know: the posture waits, too. */
	if (out->verdict != ABI_BLOCK || out->reason != ABI_RULE ||
	    awaits_arguments(s, file, out))
		return 0;
	return conclude(s, out, file, ABI_FILE_OPEN, ABI_PROCESS);
}

#define PROC_SUPER_MAGIC 0x9fa0

/* /proc/PID/mem, and that of a thread. */
static __always_inline bool is_memory(struct file *file)
{
	char name[4] = {};

	if (file->f_inode->i_sb->s_magic != PROC_SUPER_MAGIC)
		return false;
	bpf_probe_read_kernel(name, sizeof(name),
			      BPF_CORE_READ(file, f_path.dentry, d_name.name));
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && !name[3];
}

/* A file that is opened for writing: options on what is written. */
static __noinline int open_for_writing(struct scope *s, struct file *file)
{
	struct abi_task *label = s->label;
	struct inode *inode = file->f_inode;
	const struct abi_set *set = s->set;
	bool is_copy;

	if (!label || !set || !inode)
		return refuse(s, file, ABI_FILE_OPEN, ABI_FILE);
	is_copy = label->copying && is_internal(file);
	if (is_copy && end_copy(s, inode))
		return refuse(s, file, ABI_FILE_OPEN, ABI_FILE);
	if (set->flags & ABI_SET_TAINT && !is_copy && taint(s, inode))
		return refuse(s, file, ABI_FILE_OPEN, ABI_FILE);
	if (set->flags & ABI_SET_NO_POKE && is_memory(file))
		return refuse_by(s, ABI_POKE, file, ABI_FILE_OPEN);
	return 0;
}

/* A program, its interpreter, or the layer's file behind either: a file rule that names it holds
 * too. Apart from the hook, as is open_file: the guest's own opens do not pay for what is saved and
 * cleared. */
static __noinline int open_program(struct file *file)
{
	struct outcome out = {};
	struct scope s;
	int scope = enter(&s, any_label());
	int denied;

	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return refuse(&s, file, ABI_FILE_OPEN, ABI_FILE);
	denied = open_for_exec(&s, file, &out);
	if (denied)
		return denied;
	if (!(s.set->flags & ABI_SET_FILE) || s.label->pending)
		return 0;
	if (judge_open(&s, file, &out))
		return refuse(&s, file, ABI_FILE_OPEN, ABI_FILE);
	return conclude(&s, &out, file, ABI_FILE_OPEN, ABI_FILE);
}

static __noinline int open_file(struct file *file)
{
	struct outcome out = {};
	struct scope s;
	int scope = enter(&s, own_label());
	int denied;

	if (scope == OUT_OF_SCOPE) {
		record_identity(file);
		return 0;
	}
	if (scope == BROKEN_SCOPE)
		return refuse(&s, file, ABI_FILE_OPEN, ABI_FILE);
	/* A copy is made within one call, so it is over when the task opens anything by itself. */
	if (s.label->copying && !is_internal(file))
		s.label->copying = ABI_NOT_COPYING;
	if (file->f_mode & FMODE_WRITE) {
		denied = open_for_writing(&s, file);
		if (denied)
			return denied;
	}
	if (!(s.set->flags & (ABI_SET_FILE | ABI_SET_DENY_EXEC_READS)))
		return 0;
	if (judge_open(&s, file, &out))
		return refuse(&s, file, ABI_FILE_OPEN, ABI_FILE);
	return conclude(&s, &out, file, ABI_FILE_OPEN, ABI_FILE);
}

SEC("lsm/file_open")
int BPF_PROG(file_open, struct file *file, int ret)
{
	struct task_struct *current;

	if (ret)
		return ret;
	current = bpf_get_current_task_btf();
	if (!is_labelled(current)) {
		record_identity(file);
		return 0;
	}
	if (is_settled(current, file))
		return 0;
	return file->f_flags & FMODE_EXEC ? open_program(file) : open_file(file);
}
