/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Texts of an event: who acts, with which arguments, on what. Shown, never decided on.
 */
#ifndef KADAPTER_SHOW_H
#define KADAPTER_SHOW_H

static __always_inline void emit_arguments(struct abi_event *e, struct task_struct *task)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start);
	unsigned long end = BPF_CORE_READ(task, mm, arg_end);
	unsigned long len = end - start;

	e->argv_len = 0;
	if (!start || end < start)
		return;
	if (len > ABI_ARGV_BYTES - 1) {
		len = ABI_ARGV_BYTES - 1;
		e->truncated = 1;
	}
	/* Memory of the caller: shown, never decided on. */
	if (!bpf_probe_read_user(e->argv, len & (ABI_ARGV_BYTES - 1), (void *)start))
		e->argv_len = len;
}

/* Of one argument, with a NUL. */
#define MAX_SHOWN_ARGUMENT 128

/* Arguments of a program that is in place, but has not begun. */
struct shown_arguments {
	struct abi_event *event;
	__u64 at;
	__u32 len;
	__u32 shown;
};

static long show_argument(__u32 i, void *context)
{
	struct shown_arguments *w = context;
	__u32 end = w->len;
	long len;

	if (end > ABI_ARGV_BYTES - MAX_SHOWN_ARGUMENT)
		return 1;
	len = read_user_text(&w->event->argv[end], MAX_SHOWN_ARGUMENT, w->at);
	if (len < 1)
		return 1;
	w->len = end + len;
	if (len == MAX_SHOWN_ARGUMENT) /* the rest of it is somewhere */
		return 1;
	w->at += len;
	w->shown = i + 1;
	return 0;
}

static __noinline int show_arguments(struct abi_event *e, __u64 arguments, __u32 argc)
{
	struct shown_arguments w = { .event = e, .at = arguments };

	bpf_loop(argc, show_argument, &w, 0);
	e->argv_len = w.len;
	e->truncated |= w.shown != argc;
	return 0;
}

/* Number of a process in its own pid namespace, the last of `numbers`. */
static __always_inline __u32 own_pid(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	__u64 level = BPF_CORE_READ(pid, level);
	__u32 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, nr));
	return number;
}

static __always_inline void emit_task(struct abi_event *e)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *parent = task->real_parent;
	struct tty_struct *tty = BPF_CORE_READ(task, signal, tty);

	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->ppid = BPF_CORE_READ(parent, tgid);
	e->uid = bpf_get_current_uid_gid();
	e->container_pid = own_pid(task);
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	e->tty[0] = 0;
	if (tty)
		bpf_core_read_str(e->tty, sizeof(e->tty), &tty->name);
	emit_arguments(e, task);
}

/* The container's name at the runtime is in it. */
static __always_inline void emit_cgroup(struct abi_event *e)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const char *name = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, name);

	if (bpf_probe_read_kernel_str(e->cgroup, sizeof(e->cgroup), name) < 0)
		e->cgroup[0] = 0;
}

static __always_inline void emit_path(char *text, __u32 size, struct path *path, __u8 *truncated)
{
	long len = bpf_d_path(path, text, size);

	if (len < 0) {
		text[0] = 0;
		*truncated |= len == -36 /* ENAMETOOLONG */;
	}
}

/* Bytes of a directory that a name still fits behind. */
#define MAX_DIRECTORY (ABI_PATH_BYTES - ABI_MAX_NAME - 2)

/* Components that are shown where the kernel renders no path. */
#define MAX_SHOWN 16

/* Bytes of a component of a program's path, with a NUL: where it is long it is cut. */
#define BRIEF_NAME 64
/* Bytes of a program's path that a component still fits behind. */
#define MAX_BRIEF (ABI_EXE_BYTES - BRIEF_NAME - 1)

/* A path from the task's root, for hooks that may not call bpf_d_path; from the super block's, if the
 * task's root lies on another one, as for volumes. */
struct shown {
	char *text;
	__u64 at; /* address of a dentry */
	__u64 root;
	__u32 count;
	__u32 len; /* of the text */
	__u32 brief; /* of a program, hence in a smaller field */
	__u32 cut;
	__u64 chain[MAX_SHOWN];
};

static long climb_shown(__u32 i, void *context)
{
	struct shown *w = context;

	if (w->at == w->root || i >= MAX_SHOWN)
		return 1;
	w->chain[i] = w->at;
	w->count = i + 1;
	w->at = parent_of(w->at);
	return 0;
}

static long show_component(__u32 i, void *context)
{
	struct shown *w = context;
	__u32 at = w->count - 1 - i, end = w->len;
	const void *name;
	long len;

	if (at >= MAX_SHOWN || end >= MAX_DIRECTORY || (w->brief && end >= MAX_BRIEF)) {
		w->cut = 1;
		return 1;
	}
	name = kernel_memory(struct dentry, w->chain[at])->d_name.name;
	w->text[end] = '/';
	if (w->brief)
		len = bpf_probe_read_kernel_str(&w->text[end + 1], BRIEF_NAME, name);
	else
		len = bpf_probe_read_kernel_str(&w->text[end + 1], ABI_MAX_NAME + 1, name);
	if (len < 1)
		return 1;
	w->cut |= w->brief && len == BRIEF_NAME;
	w->len = end + len;
	return 0;
}

/* Returns whether the path is whole. */
static __noinline bool show_path(char *text, struct dentry *dentry, bool brief)
{
	struct shown w = { .text = text, .brief = brief };

	w.at = address_of(dentry);
	w.root = (__u64)BPF_CORE_READ(bpf_get_current_task_btf(), fs, root.dentry);
	if (kernel_memory(struct dentry, w.root)->d_sb !=
	    kernel_memory(struct dentry, w.at)->d_sb)
		w.root = (__u64)kernel_memory(struct dentry, w.at)->d_sb->s_root;
	bpf_loop(MAX_SHOWN, climb_shown, &w, 0);
	if (w.count)
		bpf_loop(w.count, show_component, &w, 0);
	return w.at == w.root && !w.cut;
}

/* The program that acts, where the kernel renders no path. */
static __always_inline void show_program(struct abi_event *e)
{
	struct dentry *exe = BPF_CORE_READ(bpf_get_current_task_btf(), mm, exe_file, f_path.dentry);

	if (exe && !show_path(e->exe, exe, true))
		e->truncated = 1;
}

/* The directory as the container names it, then the name. */
static __noinline int emit_name(struct abi_event *e, const struct path *dir, struct dentry *name)
{
	__u64 at = bpf_d_path((struct path *)dir, e->path, MAX_DIRECTORY) - 1;

	/* For the verifier: a comparison that the compiler would make of another value. */
	asm volatile("" : "+r"(at));
	if (at >= MAX_DIRECTORY) {
		e->path[0] = 0;
		return -1;
	}
	if (!name)
		return 0;
	if (at > 1) /* below the root */
		e->path[at++] = '/';
	bpf_probe_read_kernel_str(&e->path[at], ABI_MAX_NAME + 1,
				  BPF_CORE_READ(name, d_name.name));
	return 0;
}

static __always_inline void emit_paths(struct abi_event *e, struct file *file)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mm_struct *mm = task->mm;
	struct task_struct *parent = task->real_parent;
	struct mm_struct *parent_mm = parent->mm;

	if (mm && mm->exe_file)
		emit_path(e->exe, sizeof(e->exe), &mm->exe_file->f_path, &e->truncated);
	if (parent_mm && parent_mm->exe_file)
		emit_path(e->parent_exe, sizeof(e->parent_exe), &parent_mm->exe_file->f_path,
			  &e->truncated);
	if (task->fs)
		emit_path(e->cwd, sizeof(e->cwd), &task->fs->pwd, &e->truncated);
	if (file)
		emit_path(e->path, sizeof(e->path), &file->f_path, &e->truncated);
}

#endif
