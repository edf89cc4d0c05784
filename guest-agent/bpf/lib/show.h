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

/* Components of a path that are shown where the kernel renders none, of the last ones. */
#define MAX_SHOWN 10
/* Mounts one on the other that are left at once, and the root of the task below them. */
#define MAX_STACKED 3

/* Bytes of a directory that a name still fits behind. */
#define MAX_DIRECTORY (ABI_PATH_BYTES - ABI_MAX_NAME - 2)

/* Bytes of a component of a program's path, with a NUL: where it is long it is cut. */
#define BRIEF_NAME 64
/* Bytes of a program's path that a component still fits behind. */
#define MAX_BRIEF (ABI_EXE_BYTES - BRIEF_NAME - 1)

/* What stands before the last components of a path that is not shown whole. */
#define DOTS 3

/* A path from the task's root, over the mounts between, where bpf_d_path may not be called or finds no
 * room. Of a long one the end is shown: the name, and as many of the directories above as fit. */
struct shown {
	__u64 at; /* address of a dentry */
	__u64 mount; /* address of the mount that it is seen through; 0 = not known */
	__u64 root;
	__u64 root_mount;
	__u16 field; /* of the event, where the text goes */
	__u16 len; /* of the text */
	__u16 room; /* bytes for components */
	__u8 count;
	__u8 brief; /* of a program, hence in a smaller field */
	__u8 cut; /* a component was */
	__u8 whole;
	__u64 chain[MAX_SHOWN];
};

/* What the loops of show_path carry. The event is apart from what the steps write: the verifier forgets
 * that, and so it follows one step, not each after each. */
struct showing {
	struct abi_event *event;
	struct shown path;
};

static __always_inline __u64 mount_of(__u64 vfsmount)
{
	return vfsmount ? vfsmount - bpf_core_field_offset(struct mount, mnt) : 0;
}

/* From the root of a mount to where it is mounted. Returns whether the path ends there: at the task's
 * root, or at that of a tree which is attached nowhere. */
static __always_inline bool leave_mounts(struct shown *w)
{
	struct mount *mount;

	for (int left = 0; left < MAX_STACKED; left++) {
		if (w->at == w->root && w->mount == w->root_mount)
			return true;
		mount = kernel_memory(struct mount, w->mount);
		if (!w->mount || w->at != (__u64)mount->mnt.mnt_root)
			return false;
		if (w->mount == (__u64)mount->mnt_parent)
			return true;
		w->at = (__u64)mount->mnt_mountpoint;
		w->mount = (__u64)mount->mnt_parent;
	}
	return false;
}

/* One component up; whether that was all. Global, as find_place. */
__noinline int climb_step(struct shown *w, __u32 i)
{
	__u32 len;

	if (!w)
		return 1;
	if (leave_mounts(w)) {
		w->whole = 1;
		return 1;
	}
	len = kernel_memory(struct dentry, w->at)->d_name.len;
	if (w->brief && len >= BRIEF_NAME)
		len = BRIEF_NAME - 1;
	if (i >= MAX_SHOWN || len >= w->room || w->at == parent_of(w->at))
		return 1;
	w->room -= len + 1;
	w->chain[i] = w->at;
	w->count = i + 1;
	w->at = parent_of(w->at);
	return 0;
}

static long climb_shown(__u32 i, void *context)
{
	struct showing *w = context;

	return climb_step(&w->path, i) != 0;
}

/* Writes one component; whether that was all. Global, as find_place. */
__noinline int show_step(struct abi_event *e, struct shown *w, __u32 i)
{
	const void *name;
	__u32 at, end;
	char *text;
	long len;

	if (!e || !w)
		return 1;
	at = w->count - 1 - i;
	end = w->len;
	if (w->field > offsetof(struct abi_event, path) || at >= MAX_SHOWN ||
	    end >= MAX_DIRECTORY || (w->brief && end >= MAX_BRIEF)) {
		w->cut = 1;
		return 1;
	}
	text = (char *)e + w->field;
	name = kernel_memory(struct dentry, w->chain[at])->d_name.name;
	text[end] = '/';
	if (w->brief)
		len = bpf_probe_read_kernel_str(&text[end + 1], BRIEF_NAME, name);
	else
		len = bpf_probe_read_kernel_str(&text[end + 1], ABI_MAX_NAME + 1, name);
	if (len < 1)
		return 1;
	w->cut |= w->brief && len == BRIEF_NAME;
	w->len = end + len;
	return 0;
}

static long show_component(__u32 i, void *context)
{
	struct showing *w = context;

	return show_step(w->event, &w->path, i) != 0;
}

/* The mount that a name is probably seen through, if the hook knows none: of its file system there is
 * mostly one. */
static __always_inline __u64 likely_mount(struct fs_struct *fs, __u64 dentry)
{
	__u64 sb = (__u64)kernel_memory(struct dentry, dentry)->d_sb;

	if ((__u64)BPF_CORE_READ(fs, root.mnt, mnt_sb) == sb)
		return (__u64)BPF_CORE_READ(fs, root.mnt);
	if ((__u64)BPF_CORE_READ(fs, pwd.mnt, mnt_sb) == sb)
		return (__u64)BPF_CORE_READ(fs, pwd.mnt);
	return 0;
}

/* Writes a path into a field of an event that is so far from its begin. Returns whether it is whole.
 * Global, as find_place: verified once, and not for each text of each hook. */
__noinline int show_path(struct abi_event *e, __u32 field, __u64 dentry, __u64 vfsmount)
{
	struct fs_struct *fs = BPF_CORE_READ(bpf_get_current_task_btf(), fs);
	struct showing w = { .event = e };
	char *text;

	if (!e || field > offsetof(struct abi_event, path) || !dentry)
		return 1;
	text = (char *)e + field;
	w.path.at = dentry;
	w.path.field = field;
	w.path.brief = field != offsetof(struct abi_event, path);
	w.path.room = (w.path.brief ? MAX_BRIEF : MAX_DIRECTORY) - DOTS;
	w.path.mount = mount_of(vfsmount ? vfsmount : likely_mount(fs, dentry));
	w.path.root = (__u64)BPF_CORE_READ(fs, root.dentry);
	w.path.root_mount = mount_of((__u64)BPF_CORE_READ(fs, root.mnt));
	bpf_loop(MAX_SHOWN + 1, climb_shown, &w, 0);
	if (!w.path.whole) {
		__builtin_memset(text, '.', DOTS);
		w.path.len = DOTS;
	} else if (!w.path.count) {
		text[0] = '/';
		text[1] = 0;
	}
	if (w.path.count)
		bpf_loop(w.path.count, show_component, &w, 0);
	return w.path.whole && !w.path.cut;
}

/* A field of an event, for show_path. */
#define FIELD(name) offsetof(struct abi_event, name)

static __always_inline void emit_path(struct abi_event *e, __u32 field, __u32 size,
				      struct path *path)
{
	char *text = (char *)e + field;
	long len = bpf_d_path(path, text, size);

	if (len >= 0)
		return;
	text[0] = 0;
	if (len != -36 /* ENAMETOOLONG */)
		return;
	e->truncated = 1;
	show_path(e, field, (__u64)BPF_CORE_READ(path, dentry), (__u64)BPF_CORE_READ(path, mnt));
}

static __always_inline int show_file(struct abi_event *e, __u32 field, struct file *file)
{
	return show_path(e, field, (__u64)BPF_CORE_READ(file, f_path.dentry),
			 (__u64)BPF_CORE_READ(file, f_path.mnt));
}

/* As emit_paths, where the kernel renders none. */
static __always_inline int show_paths(struct abi_event *e, struct file *file)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	int whole;

	whole = show_file(e, FIELD(exe), BPF_CORE_READ(task, mm, exe_file));
	whole &= show_file(e, FIELD(parent_exe), BPF_CORE_READ(task, real_parent, mm, exe_file));
	whole &= show_path(e, FIELD(cwd), (__u64)BPF_CORE_READ(fs, pwd.dentry),
			   (__u64)BPF_CORE_READ(fs, pwd.mnt));
	whole &= show_file(e, FIELD(path), file);
	e->truncated |= !whole;
	return 0;
}

/* A name seen through the mount of a path, or what that leads to, where the kernel renders none. Returns whether it is
 * cut. */
static __always_inline int show_name(struct abi_event *e, const struct path *dir, struct dentry *name)
{
	__u64 vfsmount = 0, dentry = address_of(name);

	if (dir)
		vfsmount = (__u64)BPF_CORE_READ(dir, mnt);
	if (!dentry && dir)
		dentry = (__u64)BPF_CORE_READ(dir, dentry);
	return !show_path(e, FIELD(path), dentry, vfsmount);
}

/* The directory as the container names it, then the name. */
static __noinline int emit_name(struct abi_event *e, const struct path *dir, struct dentry *name)
{
	__u64 at = bpf_d_path((struct path *)dir, e->path, MAX_DIRECTORY) - 1;

	/* For the verifier: a comparison that the compiler would make of another value. */
	asm volatile("" : "+r"(at));
	if (at >= MAX_DIRECTORY) {
		e->path[0] = 0;
		show_name(e, dir, name);
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
		emit_path(e, FIELD(exe), sizeof(e->exe), &mm->exe_file->f_path);
	if (parent_mm && parent_mm->exe_file)
		emit_path(e, FIELD(parent_exe), sizeof(e->parent_exe),
			  &parent_mm->exe_file->f_path);
	if (task->fs)
		emit_path(e, FIELD(cwd), sizeof(e->cwd), &task->fs->pwd);
	if (file)
		emit_path(e, FIELD(path), sizeof(e->path), &file->f_path);
}

#endif
