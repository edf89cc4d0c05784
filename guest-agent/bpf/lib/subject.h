/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Who acts: the program that a task executes, by the name that it has, of which all rules speak; and by
 * its inode, of which only Block rules do, so that who moves or copies a program gains nothing.
 */
#ifndef KADAPTER_SUBJECT_H
#define KADAPTER_SUBJECT_H

static __always_inline __u32 subject_of_class(const struct abi_set *set, __u32 class_id)
{
	struct abi_subject_key key = { .set = set->id, .class_id = class_id };
	__u32 *subject = class_id ? bpf_map_lookup_elem(&subjects, &key) : NULL;

	return subject ? *subject : 0;
}

/* Notes the inode of what a task executes from now on. */
static __noinline int note_program(struct abi_task *label, struct inode *inode)
{
	struct abi_inode_key key = {};

	if (!label)
		return -1;
	label->exe_ino = 0;
	if (!inode || inode_key(inode, 0, &key))
		return 0;
	label->exe_ino = key.ino;
	label->exe_dev = key.dev;
	label->exe_generation = key.generation;
	return 0;
}

/* Subject by the inode of what a task executes. */
static __noinline __u32 held_subject(const struct abi_set *set, const struct abi_task *label)
{
	struct abi_inode_key key = { .set = set->id };
	__u32 *class_id;

	if (!label || !(set->flags & ABI_SET_IDENTITY) || !label->exe_ino)
		return 0;
	key.dev = label->exe_dev;
	key.ino = label->exe_ino;
	key.generation = label->exe_generation;
	class_id = bpf_map_lookup_elem(&inodes, &key);
	return class_id ? subject_of_class(set, *class_id) : 0;
}

/* Remembers who acts, by the name that the program has now. Fails where the name is unknown. */
static __always_inline int set_subject(struct scope *s, struct dentry *exe)
{
	__u32 class_id = 0;

	if (find_class(exe, s->set, &class_id) == WALK_FAILED)
		return -1;
	s->label->subject = subject_of_class(s->set, class_id);
	s->label->held = held_subject(s->set, s->label);
	s->label->subject_set = s->set->id;
	return 0;
}

/* The label's subject is of another set: the program that the task runs is looked up again. */
static __noinline int renew_subject(struct scope *s)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct dentry *exe = BPF_CORE_READ(task, mm, exe_file, f_path.dentry);

	return exe && s->set && s->label ? set_subject(s, exe) : -1;
}

/* By name in the lower half, by inode in the upper one. */
static __always_inline __u64 both_subjects(__u32 by_name, __u32 held)
{
	return (__u64)held << 32 | by_name;
}

/* Subjects of the current task. They are computed at exec; after a switch of the set, here. */
static __always_inline int current_subject(struct scope *s, __u64 *subject)
{
	*subject = 0;
	if (!(s->set->flags & ABI_SET_SUBJECTS))
		return 0;
	if (s->label->subject_set != s->set->id && renew_subject(s)) {
		s->cause = ABI_CAUSE_SUBJECT;
		return -1;
	}
	*subject = both_subjects(s->label->subject, s->label->held);
	return 0;
}

#endif
