/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Whether the rules concern the acting task. KubeArmor knows a container by the pid namespace of
 * the task's children and its mount namespace, Tetragon by its control group.
 */
#ifndef REFERENCE_SUBJECT_H
#define REFERENCE_SUBJECT_H

static __always_inline bool is_subject(void)
{
	struct task_struct *task;

	if (subject_is_cgroup)
		return bpf_get_current_ancestor_cgroup_id(cgroup_level) == cgroup_id;
	task = (struct task_struct *)bpf_get_current_task();
	return BPF_CORE_READ(task, nsproxy, pid_ns_for_children, ns.inum) == pid_namespace_id &&
	       BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum) == mount_namespace_id;
}

#endif
