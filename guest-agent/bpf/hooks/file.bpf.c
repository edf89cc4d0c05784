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

/* Whether this exec is decided later. The file behind an overlay's is only then, if that was for the
 * same: else another overlay shows it, of which later hooks know nothing. */
static __always_inline bool is_put_off(struct scope *s, struct file *file,
				       const struct classes *found, const struct outcome *out)
{
	bool awaits = awaits_arguments(s->set, found, out->verdict);

	if (is_internal(file))
		return awaits && s->label->opening == found->inode;
	s->label->opening = awaits ? found->inode : 0;
	return awaits;
}

/* A program that is blocked by identity is stopped as soon as execve opens it: this is where a
 * mount of a layer, an ELF interpreter and a detached tree come by. What is only audited waits for
 * bprm_check_security, so that nothing is reported twice. Whether that decides, and nothing else. */
static __always_inline bool is_stopped(struct scope *s, struct file *file, struct outcome *out)
{
	struct classes found = {};

	/* The layer's file is the one whose mark is sure. */
	if (s->set->flags & ABI_SET_TAINT && is_tainted(s, file->f_inode)) {
		deny_by_option(out, ABI_TAINT);
		return true;
	}
	if (!(s->set->flags & ABI_SET_PROCESS))
		return false;
	if (!identity_class(s->set, file->f_inode)) {
		if (s->set->flags & ABI_SET_ARGUMENTS && !is_internal(file))
			s->label->opening = 0;
		/* What an overlay shows has the name of what it shows it for; this is another one. */
		if (!(s->set->flags & ABI_SET_HOLD) || !is_internal(file))
			return false;
		if (judge_in_directory(s, file, out))
			give_up(out);
		return out->verdict == ABI_BLOCK;
	}
	if (judge_exec(s, file, &found, out)) {
		give_up(out);
		return true;
	}
	if (s->set->flags & ABI_SET_ARGUMENTS && is_put_off(s, file, &found, out))
		return false;
	/* A layer's file has no name that a whitelist could know: the posture waits, too. */
	return out->verdict == ABI_BLOCK && out->reason == ABI_RULE;
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

/* Options on what is written: whether the open is decided by them. That of a copy is: who asked for
 * the copy was judged by another hook, and it has the identity of the original from here on. */
static __noinline bool is_decided_by_writing(struct scope *s, struct file *file, struct outcome *out)
{
	struct abi_task *label = s->label;
	struct inode *inode = file->f_inode;
	const struct abi_set *set = s->set;
	bool is_copy;

	if (!label || !set || !inode) {
		give_up(out);
		return true;
	}
	is_copy = label->copying && is_internal(file);
	if (is_copy && end_copy(s, inode)) {
		s->cause = ABI_CAUSE_COPY;
		give_up(out);
	} else if (set->flags & ABI_SET_NO_POKE && is_memory(file)) {
		deny_by_option(out, ABI_POKE);
	}
	return is_copy || out->verdict == ABI_BLOCK;
}

static __noinline int mark_written(struct scope *s, struct file *file)
{
	struct inode *inode = file->f_inode;

	if (!s->set || !inode)
		return -1;
	s->cause = ABI_CAUSE_MARK;
	return s->set->flags & ABI_SET_TAINT ? taint(s, inode) : 0;
}

/* Decides, and returns the category that did. */
static __always_inline __u8 judge(struct scope *s, struct file *file, struct outcome *out)
{
	__u32 opens = ABI_SET_FILE;

	if (file->f_flags & FMODE_EXEC) {
		if (is_stopped(s, file, out))
			return ABI_PROCESS;
		/* A program, its interpreter, or the layer's file behind either: a file rule that names it
		 * holds too. */
		out->verdict = ABI_NONE;
	} else {
		/* A copy is made within one call, so it is over when the task opens anything by
		 * itself. */
		if (s->label->copying && !is_internal(file))
			s->label->copying = ABI_NOT_COPYING;
		if (file->f_mode & FMODE_WRITE && is_decided_by_writing(s, file, out))
			return out->primitive ? ABI_PROCESS : ABI_FILE;
		opens |= ABI_SET_DENY_EXEC_READS;
		if (is_written(file))
			opens |= ABI_SET_ALLOW_GUARD;
	}
	if (s->set->flags & opens && judge_open(s, file, out))
		give_up(out);
	/* What the runtime executes for the container need not be in its whitelist of files. */
	if (out->reason == ABI_POSTURE && s->label->pending)
		out->verdict = ABI_NONE;
	/* Last: who was refused has written nothing. */
	if (file->f_mode & FMODE_WRITE && out->verdict != ABI_BLOCK && mark_written(s, file))
		give_up(out);
	return ABI_FILE;
}

/* Apart from the hook: the guest's own opens do not pay for what is saved and cleared. */
static __noinline int open_in_container(struct file *file)
{
	bool for_exec = file->f_flags & FMODE_EXEC;
	struct outcome out = {};
	struct scope s;
	int scope = enter(&s, for_exec ? any_label() : own_label());
	__u8 category = ABI_FILE;

	if (scope == OUT_OF_SCOPE) {
		if (!for_exec) {
			record_identity(file);
			return 0;
		}
		/* A process that joins: what execve opens is the first file of the container that it
		 * opens for the container, and a mount of a layer comes by here alone. */
		scope = adopt(&s);
		if (!s.label)
			return 0; /* the guest's own; or nobody's, of which bprm_check_security tells */
	}
	if (scope == BROKEN_SCOPE)
		give_up(&out);
	else
		category = judge(&s, file, &out);
	return conclude(&s, &out, file, ABI_FILE_OPEN, category);
}

SEC("lsm/file_open")
int BPF_PROG(file_open, struct file *file, int ret)
{
	struct task_struct *current;

	if (ret)
		return ret;
	current = bpf_get_current_task_btf();
	if (!is_labelled(current) && !(file->f_flags & FMODE_EXEC)) {
		record_identity(file);
		return 0;
	}
	if (is_settled(current, file))
		return 0;
	return open_in_container(file);
}
