/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Changes of names: made, removed, moved, given to another file. File rules hold for whoever changes
 * the name as for whoever opens the file. Guards keep programs that are blocked where their rules
 * find them.
 */
#ifndef KADAPTER_NAME_H
#define KADAPTER_NAME_H

#define ABI_SET_GUARDS (ABI_SET_GUARD_OBJECTS | ABI_SET_GUARD_ANCESTORS)

/* One name. */
struct change {
	const struct path *path; /* of the name, or of its directory; NULL where the hook knows none */
	struct dentry *name;
	struct dentry *shown; /* the name behind `path`, if that is the directory, or for want of it */
	__u64 hook; /* a whole word: the verifier knows the value of no part of one */
	__u8 guarded;	 /* the change takes the name away, or gives the file another one */
	__u8 written;	 /* it gives the name another content, or the file a name to write it by */
	__u8 beside; /* `path` is neither, but has the same mount */
	__u8 behind; /* made by an overlay in its layers: no posture, for rules name the file in front */
	__u8 guards_only; /* file rules are asked by another hook of the same call */
};

static __noinline int report_change(struct scope *s, struct outcome *out, const struct change *c,
				    __u32 hook, __u32 category)
{
	struct report r = {
		.scope = s,
		.outcome = out,
		.dir = c->path,
		.name = c->shown,
		.beside = c->beside,
		.paths = has_paths(hook),
		.hook = hook,
		.category = category,
		.errno_value = out->verdict == ABI_BLOCK ? EACCES : 0,
	};

	emit_event(&r);
	return out->verdict == ABI_BLOCK ? -EACCES : 0;
}

/* What is known of a name, and of the file that has it. */
static __noinline int find_name(struct scope *s, struct dentry *name, struct classes *found,
				__u32 *flags)
{
	struct attempt a = { .dentry = address_of(name) };
	struct inode *inode;

	a.set = s->set;
	if (!a.set || walk_steadily(&a)) {
		s->cause = a.set ? ABI_CAUSE_PLACE : ABI_CAUSE_RULES;
		return -1;
	}
	found->name = a.place;
	*flags = node_flags(a.place);
	inode = inode_of(name);
	found->inode = inode ? identity_class(s->set, inode) : 0;
	return 0;
}

/* Whether a guard keeps the name, and the rule that it does so for, if one names this file. */
static __noinline int guard_name(struct scope *s, const struct classes *found, __u32 flags,
				 __u64 subject, struct outcome *out)
{
	const struct abi_set *set = s->set;

	if (!set || !(set->flags & ABI_SET_GUARDS))
		return 0;
	decide_as_blocked(find_decision(set, found->name, subject, ABI_PROCESS), ABI_NAME_GUARD,
			  out);
	decide_as_blocked(find_decision(set, found->inode, subject, ABI_PROCESS), ABI_NAME_GUARD,
			  out);
	if (out->verdict == ABI_BLOCK)
		return 0;
	if (!(flags & ABI_NODE_NAMES_ONLY) &&
	    !(set->flags & ABI_SET_GUARD_ANCESTORS && flags & ABI_NODE_ABOVE_BLOCK))
		return 0;
	out->verdict = ABI_BLOCK;
	out->reason = ABI_HARDENING;
	out->primitive = ABI_NAME_GUARD;
	return 0;
}

/* Nor is a directory moved to where one lies that rules permit programs of. */
static __noinline int keep_place(const struct abi_set *set, const struct classes *found,
				 __u32 flags, struct outcome *out)
{
	bool is_permitted = out->verdict == ABI_ALLOW && out->reason == ABI_RULE;

	keep_permitted(set, found, out);
	if (out->verdict != ABI_BLOCK && !is_permitted && flags & ABI_NODE_ABOVE_PERMITTED)
		deny_by_option(out, ABI_ALLOW_GUARD);
	return 0;
}

/* Decides about one name, and returns the category that did. */
static __always_inline __u32 judge_change(struct scope *s, const struct change *c,
					  struct outcome *out)
{
	struct classes found = {};
	__u64 subject = 0;
	__u32 flags = 0;

	if (!s->set || current_subject(s, &subject) || find_name(s, c->name, &found, &flags)) {
		give_up(out);
		return ABI_FILE;
	}
	if (c->guarded) {
		guard_name(s, &found, flags, subject, out);
		if (out->verdict == ABI_BLOCK)
			return ABI_PROCESS;
	}
	if (s->set->flags & ABI_SET_FILE && !c->guards_only)
		decide_open(s->set, &found, subject, true, out);
	if (c->behind && out->reason == ABI_POSTURE)
		out->verdict = ABI_ALLOW;
	if (c->written && s->set->flags & ABI_SET_ALLOW_GUARD)
		keep_place(s->set, &found, flags, out);
	return ABI_FILE;
}

static __noinline int change_name(struct scope *s, const struct change *c)
{
	struct outcome out = {};
	__u32 hook = c->hook, category;

	category = ABI_FILE;
	if (c->name)
		category = judge_change(s, c, &out);
	else
		give_up(&out);
	return out.verdict < ABI_AUDIT ? 0 : report_change(s, &out, c, hook, category);
}

/* Whether the current task's changes of names are anybody's business. */
static __always_inline int enter_for_names(struct scope *s, const struct change *first)
{
	int scope = enter(s, is_unlabelled() ? NULL : own_label());

	if (scope != IN_SCOPE)
		return scope;
	if (s->set->flags & (ABI_SET_FILE | ABI_SET_ALLOW_GUARD) ||
	    (first->guarded && s->set->flags & ABI_SET_GUARDS))
		return IN_SCOPE;
	return OUT_OF_SCOPE;
}

/* Whether the names are nobody's, as nearly all are. */
static __always_inline bool are_nobodys(struct dentry *first, struct dentry *second)
{
	struct task_struct *current = bpf_get_current_task_btf();
	struct scope s;

	if (!is_labelled(current))
		return true;
	if (!glance(current, &s))
		return false;
	if (!(s.set->flags & (ABI_SET_FILE | ABI_SET_GUARDS | ABI_SET_ALLOW_GUARD)))
		return true;
	if (!is_nobodys(s.set, first, inode_of(first)))
		return false;
	return !second || is_nobodys(s.set, second, inode_of(second));
}

/* Decides about the changes of one call: of one name, or of two. */
static __always_inline int change(const struct change *first, const struct change *second)
{
	struct scope s;
	int scope, denied;

	if (are_nobodys(first->name, second ? second->name : NULL))
		return 0;
	scope = enter_for_names(&s, first);
	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		s.set = NULL; /* leaves nothing to judge by, which denies */
	denied = change_name(&s, first);
	return denied || !second ? denied : change_name(&s, second);
}

/* For hooks on a name in a directory. */
static __always_inline int change_entry(const struct path *dir, struct dentry *name, __u32 hook)
{
	struct change c = { .path = dir, .name = name, .shown = name, .hook = hook };

	return change(&c, NULL);
}

/* For hooks on a file by its path. */
static __always_inline int change_file(const struct path *path, __u32 hook)
{
	struct change c = { .path = path, .name = path->dentry, .hook = hook };

	return change(&c, NULL);
}

#endif
