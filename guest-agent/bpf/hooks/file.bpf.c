/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Files: may this file be opened. Also where the agent's own opens record identities. */

/* Records an inode that the agent opens. On an overlay this runs for the overlay's inode and for
 * the layer's, which is the one that keeps its number. */
static __noinline int record(struct file *file, struct abi_probe *probe)
{
	struct abi_inode_key key;
	__u32 class_id;

	inode_key(file->f_inode, probe->set, &key);
	class_id = probe->class_id;
	if (bpf_map_update_elem(&inodes, &key, &class_id, BPF_ANY))
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
	if (!(s->set->flags & ABI_SET_PROCESS) ||
	    !identity_class(s->set, file->f_inode))
		return 0;
	if (judge(s, file, ABI_PROCESS, out))
		return refuse(s, file, ABI_FILE_OPEN, ABI_PROCESS);
	return out->verdict == ABI_BLOCK ? conclude(s, out, file, ABI_FILE_OPEN, ABI_PROCESS) : 0;
}

/* Apart from the hook, so that the guest's own opens do not pay for what it saves and clears. */
static __noinline int open_labelled(struct file *file)
{
	bool for_exec = file->f_flags & FMODE_EXEC;
	struct outcome out = {};
	struct scope s;
	int scope = enter(&s, for_exec ? any_label() : own_label());
	int denied;

	if (scope == OUT_OF_SCOPE) {
		record_identity(file);
		return 0;
	}
	if (scope == BROKEN_SCOPE)
		return refuse(&s, file, ABI_FILE_OPEN, ABI_FILE);
	if (for_exec) {
		denied = open_for_exec(&s, file, &out);
		if (denied)
			return denied;
	}
	if (!(s.set->flags & ABI_SET_FILE) || s.label->pending)
		return 0;
	if (judge(&s, file, ABI_FILE, &out))
		return refuse(&s, file, ABI_FILE_OPEN, ABI_FILE);
	return conclude(&s, &out, file, ABI_FILE_OPEN, ABI_FILE);
}

SEC("lsm/file_open")
int BPF_PROG(file_open, struct file *file, int ret)
{
	if (ret)
		return ret;
	if (is_unlabelled()) {
		record_identity(file);
		return 0;
	}
	return is_settled(file) ? 0 : open_labelled(file);
}
