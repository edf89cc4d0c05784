/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The record of one decision, and the counters of those that could not be recorded or made.
 */
#ifndef KADAPTER_EMIT_H
#define KADAPTER_EMIT_H

struct report {
	struct scope *scope;
	const struct outcome *outcome;
	struct file *file; /* the object; NULL if there is none */
	const struct path *dir; /* else: the directory of `name`, or the object if there is no name */
	struct dentry *name;
	bool beside;	   /* of `dir` only the mount is the name's */
	bool paths;	   /* bpf_d_path may be called in this hook (kernel: sleepable_lsm_hooks) */
	/* Of an exec whose program is in place: its name if that is not the file's, and its arguments. */
	__u64 called;
	__u64 arguments;
	__u32 argc;
	__u8 hook;
	__u8 category;
	__u16 errno_value;
};

static __always_inline void emit_rules(struct abi_event *e, const struct abi_decision *decision)
{
	if (!decision)
		return;
	for (int i = 0; i < ABI_MAX_RULES; i++) {
		__u32 at = e->rules_len;

		if (i >= decision->rules_len || at >= ABI_MAX_RULES)
			break;
		e->rules[at] = decision->rules[i];
		e->rules_len = at + 1;
	}
	e->total_rules += decision->total_rules;
}

/* A name to come has no inode: it is known by its hash, which the kernel makes of the directory's
 * address and the text. */
static __always_inline void object_of(const struct report *r, struct abi_sighting *key)
{
	/* BPF_CORE_READ would look for a `struct report` in the kernel. */
	struct file *file = r->file;
	const struct path *dir = r->dir;
	struct dentry *name = r->name;
	struct inode *inode;

	if (file) {
		inode = BPF_CORE_READ(file, f_inode);
	} else {
		if (!name && dir)
			name = BPF_CORE_READ(dir, dentry);
		inode = BPF_CORE_READ(name, d_inode);
	}
	key->ino = inode ? BPF_CORE_READ(inode, i_ino) : BPF_CORE_READ(name, d_name.hash_len);
	key->dev = inode ? BPF_CORE_READ(inode, i_sb, s_dev) : BPF_CORE_READ(name, d_sb, s_dev);
	key->generation = inode ? BPF_CORE_READ(inode, i_generation) : 0;
}

static __always_inline void sighting_of(const struct report *r, struct abi_sighting *key)
{
	const struct abi_decision *decision = r->outcome->first;

	key->rule = decision && decision->rules_len ? decision->rules[0] : r->outcome->primitive;
	object_of(r, key);
	key->container = r->scope->container;
	key->hook = r->hook;
	key->verdict = r->outcome->verdict;
	key->reason = r->outcome->reason;
	key->category = r->category;
}

static __always_inline void forget_object(struct abi_sighting *key)
{
	key->ino = 0;
	key->dev = 0;
	key->generation = 0;
}

static __noinline int novelty_of(const struct abi_sighting *seen)
{
	struct abi_sighting key = *seen;

	if (bpf_map_lookup_elem(&sightings, &key))
		return ABI_REPEAT;
	forget_object(&key);
	return bpf_map_lookup_elem(&sightings, &key) ? ABI_NEW_OBJECT : ABI_NEW_RULE;
}

/* Only for what is in the ring. If there is no memory, the next one is a first again. */
static __noinline int note_sighting(const struct abi_sighting *seen, __u64 now)
{
	struct abi_sighting key = *seen;

	bpf_map_update_elem(&sightings, &key, &now, BPF_ANY);
	forget_object(&key);
	return bpf_map_update_elem(&sightings, &key, &now, BPF_ANY);
}

static __always_inline bool has_room(int novelty)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	if (novelty == ABI_NEW_RULE)
		return true;
	return waiting < (novelty == ABI_REPEAT ? REPEAT_BYTES : OBJECT_BYTES);
}

/* Whether the runtime acts for the container: its program and arguments say nothing of that. */
static __always_inline bool is_of_runtime(const struct report *r)
{
	const struct abi_task *label = r->scope->label;

	return label && label->pending;
}

/* What is dropped costs a look-up and a count: all that is dear comes after the reservation. */
static __always_inline void emit_event(const struct report *r)
{
	struct abi_sighting seen;
	struct abi_event *e = NULL;
	int novelty;

	if (r->outcome->reason == ABI_FAIL_CLOSED)
		count_undecided(r->scope, r->scope->cause);
	sighting_of(r, &seen);
	novelty = novelty_of(&seen);
	if (has_room(novelty))
		e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(ABI_EVENTS_DROPPED);
		return;
	}
	if (novelty != ABI_REPEAT)
		note_sighting(&seen, bpf_ktime_get_boot_ns());
	e->novelty = novelty;
	e->boot_ns = bpf_ktime_get_boot_ns();
	e->generation = r->scope->set ? r->scope->set->generation : 0;
	e->slot = r->scope->slot;
	e->container = r->scope->container;
	e->hook = r->hook;
	e->verdict = r->outcome->verdict;
	e->reason = r->outcome->reason;
	e->category = r->category;
	e->errno_value = r->errno_value;
	e->truncated = 0;
	e->primitive = r->outcome->primitive;
	e->rules_len = 0;
	e->total_rules = 0;
	emit_rules(e, r->outcome->first);
	emit_rules(e, r->outcome->second);
	emit_task(e);
	e->cgroup[0] = 0;
	if (!e->container)
		emit_cgroup(e);
	if (is_of_runtime(r))
		e->argv_len = 0;
	if (r->arguments)
		show_arguments(e, r->arguments, r->argc);
	e->exe[0] = e->parent_exe[0] = e->cwd[0] = e->path[0] = 0;
	if (r->paths)
		emit_paths(e, r->file);
	else
		show_paths(e, r->file);
	if (is_of_runtime(r))
		e->exe[0] = 0;
	if (r->dir && r->paths && !r->beside)
		e->truncated |= emit_name(e, r->dir, r->name) != 0;
	else if (r->dir || r->name)
		e->truncated |= show_name(e, r->dir, r->name);
	else if (r->called)
		bpf_probe_read_kernel_str(e->path, sizeof(e->path), (void *)r->called);
	bpf_ringbuf_submit(e, 0);
}

/* Hooks that may call bpf_d_path: sleepable_lsm_hooks in kernel/bpf/bpf_lsm.c. */
static __always_inline bool has_paths(__u32 hook)
{
	switch (hook) {
	case ABI_FILE_MPROTECT:
	case ABI_PTRACE_ACCESS_CHECK:
	case ABI_PTRACE_TRACEME:
	case ABI_PATH_MKNOD:
	case ABI_MOVE_MOUNT:
	case ABI_CAPABLE:
	case ABI_INODE_COPY_UP:
	case ABI_INODE_LINK:
	case ABI_MMAP_BACKING_FILE:
	case ABI_INODE_REMOVEXATTR:
	case ABI_INODE_SET_ACL:
	case ABI_INODE_REMOVE_ACL:
	case ABI_UNIX_STREAM_CONNECT:
	case ABI_UNIX_MAY_SEND:
		return false;
	default:
		return true;
	}
}

/* Apart from the hooks: what a report needs of the stack, the walk has used before. */
static __noinline int report_decision(struct scope *s, struct outcome *out, struct file *file,
				      __u32 hook, __u32 category)
{
	struct report r = {
		.scope = s,
		.outcome = out,
		.file = file,
		.paths = has_paths(hook),
		.hook = hook,
		.category = category,
		.errno_value = out->verdict == ABI_BLOCK ? EACCES : 0,
	};

	emit_event(&r);
	return out->verdict == ABI_BLOCK ? -EACCES : 0;
}

/* Carries out a decision: what the hook returns. */
static __always_inline int conclude(struct scope *s, struct outcome *out, struct file *file,
				    __u8 hook, __u8 category)
{
	return out->verdict < ABI_AUDIT ? 0 : report_decision(s, out, file, hook, category);
}

/* Denies what has no file. The caller sees what the kernel gives to the unprivileged. */
static __noinline int deny_privilege(struct scope *s, __u32 reason, __u32 primitive, __u32 hook)
{
	struct outcome out = { .verdict = ABI_BLOCK, .reason = reason, .primitive = primitive };
	struct report r = {
		.scope = s,
		.outcome = &out,
		.paths = has_paths(hook),
		.hook = hook,
		.category = ABI_PROCESS,
		.errno_value = EPERM,
	};

	emit_event(&r);
	return -EPERM;
}

/* What has no file could not be decided. The caller sees what the kernel gives for it. */
static __noinline int deny_undecided(struct scope *s, __u32 cause, __u32 hook, __u32 errno_value)
{
	struct outcome out = { .verdict = ABI_BLOCK, .reason = ABI_FAIL_CLOSED };
	struct report r = {
		.scope = s,
		.outcome = &out,
		.paths = has_paths(hook),
		.hook = hook,
		.category = ABI_PROCESS,
		.errno_value = errno_value,
	};

	s->cause = cause;
	emit_event(&r);
	return errno_value == ENOMEM ? -ENOMEM : -EPERM;
}

/* An option refuses a privilege. */
static __always_inline int refuse_privilege(struct scope *s, __u32 primitive, __u32 hook)
{
	return deny_privilege(s, ABI_HARDENING, primitive, hook);
}

/* What could not be decided is denied. */
static __always_inline void give_up(struct outcome *out)
{
	out->first = out->second = NULL;
	out->verdict = ABI_BLOCK;
	out->reason = ABI_FAIL_CLOSED;
	out->primitive = 0;
}

/* An option refuses this file. */
static __always_inline int refuse_by(struct scope *s, __u32 primitive, struct file *file,
				     __u32 hook)
{
	struct outcome out = {
		.verdict = ABI_BLOCK,
		.reason = ABI_HARDENING,
		.primitive = primitive,
	};

	return report_decision(s, &out, file, hook, ABI_PROCESS);
}

/* Denies a reach for what enforces. */
static __always_inline int defend(struct abi_task *label, __u32 hook)
{
	struct scope s = { .slot = label->slot, .container = label->container };

	return deny_privilege(&s, ABI_SELF_PROTECTION, 0, hook);
}

/* Denies because nothing could be decided. */
static __noinline int refuse(struct scope *s, struct file *file, __u32 hook, __u32 category)
{
	struct outcome out = { .verdict = ABI_BLOCK, .reason = ABI_FAIL_CLOSED };

	return conclude(s, &out, file, hook, category);
}

#endif
