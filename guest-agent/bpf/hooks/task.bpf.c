/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Tasks: children inherit the label; nobody reaches out of his container. */

SEC("lsm/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags, int ret)
{
	struct abi_task *label;

	if (ret)
		return ret;
	if (is_unlabelled())
		return 0;
	label = any_label();
	if (!label)
		return 0;
	if (bpf_task_storage_get(&tasks, task, label, BPF_LOCAL_STORAGE_GET_F_CREATE))
		return 0;
	/* A child without a label would be free of every rule. */
	count(ABI_FAIL_CLOSED_DENIALS);
	return -ENOMEM;
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
	if (other && other->slot == label->slot && other->container == label->container)
		return 0;
	return defend(label, ABI_PTRACE_ACCESS_CHECK);
}

SEC("lsm/bpf")
int BPF_PROG(bpf, int cmd, union bpf_attr *attr, unsigned int size, int ret)
{
	struct abi_task *label;

	if (ret)
		return ret;
	label = own_label();
	return label ? defend(label, ABI_BPF) : 0;
}
