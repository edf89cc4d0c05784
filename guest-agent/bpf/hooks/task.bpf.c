/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Tasks: children inherit the label; nobody reaches out of his container. */

SEC("lsm/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags, int ret)
{
	struct abi_task *label, fresh;
	struct scope s;

	if (ret)
		return ret;
	if (is_unlabelled())
		return 0;
	label = any_label();
	if (!label)
		return 0;
	fresh = *label;
	fresh.copying = ABI_NOT_COPYING;
	if (bpf_task_storage_get(&tasks, task, &fresh, BPF_LOCAL_STORAGE_GET_F_CREATE))
		return 0;
	/* A child without a label would be free of every rule. */
	enter(&s, label);
	return deny_undecided(&s, ABI_CAUSE_MEMORY, ABI_TASK_ALLOC, ENOMEM);
}

/* include/linux/ptrace.h: more than looking; a question that only decides how much is shown. */
#define PTRACE_MODE_ATTACH 2
#define PTRACE_MODE_NOAUDIT 4

/* One process of a container is about to write into another's memory. */
static __always_inline int poke(struct abi_task *label, __u32 hook)
{
	struct scope s;
	int scope = enter(&s, label);

	if (scope != IN_SCOPE)
		return deny_undecided(&s, ABI_CAUSE_RULES, hook, EPERM);
	if (!(s.set->flags & ABI_SET_NO_POKE))
		return 0;
	return refuse_privilege(&s, ABI_POKE, hook);
}

#define ABI_SET_OPTIONS (~0u << 8)

/* Whether nothing is denied to a container: it has no policy, or one that only audits. */
static __always_inline bool is_free(struct abi_task *label)
{
	struct scope s;

	if (label->pending || enter(&s, label) != IN_SCOPE)
		return false;
	return !(s.set->flags & (ABI_SET_BLOCKS | ABI_SET_OPTIONS)) &&
	       s.set->process_default != ABI_BLOCK && s.set->file_default != ABI_BLOCK;
}

/* A task of a container looks at, or reaches for, one of another container of the pod (`other`), or of
 * none. Containers that share their processes see what these are and what they have open, unless
 * either is under rules: the other's root would lead around one's own. Of looks at containers there is
 * no report: programs that list processes look at all. */
static __always_inline int reach_out(struct abi_task *label, struct abi_task *other,
				     unsigned int mode)
{
	if (!(mode & PTRACE_MODE_ATTACH)) {
		if (other && is_free(label) && is_free(other))
			return 0;
		if (other || mode & PTRACE_MODE_NOAUDIT)
			return -EPERM;
	}
	return defend(label, ABI_PTRACE_ACCESS_CHECK);
}

/* Covers ptrace, /proc/PID/{root,cwd,mem,fd,...} and pidfd_getfd. */
SEC("lsm/ptrace_access_check")
int BPF_PROG(ptrace_access_check, struct task_struct *child, unsigned int mode, int ret)
{
	struct abi_task *label, *other;

	if (ret)
		return ret;
	label = own_label();
	if (!label)
		return 0;
	other = bpf_task_storage_get(&tasks, child, NULL, 0);
	if (!other || other->slot != label->slot || other->container != label->container)
		return reach_out(label, other, mode);
	return mode & PTRACE_MODE_ATTACH ? poke(label, ABI_PTRACE_ACCESS_CHECK) : 0;
}

SEC("lsm/ptrace_traceme")
int BPF_PROG(ptrace_traceme, struct task_struct *parent, int ret)
{
	struct abi_task *label;

	if (ret)
		return ret;
	label = own_label();
	return label ? poke(label, ABI_PTRACE_TRACEME) : 0;
}

/* The hook has a fourth argument since Linux 6.15, and the word after the last argument is the earlier
 * verdict: so this program reads neither. That loses nothing, since the kernel calls no further program
 * once one has refused.
 * https://github.com/torvalds/linux/blob/v6.12/arch/x86/net/bpf_jit_comp.c#L2923 */
SEC("lsm/bpf")
int BPF_PROG(bpf, int cmd, union bpf_attr *attr, unsigned int size)
{
	struct abi_task *label = own_label();

	return label ? defend(label, ABI_BPF) : 0;
}
