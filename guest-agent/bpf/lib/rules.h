/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the rules of a set say of a class of objects.
 */
#ifndef KADAPTER_RULES_H
#define KADAPTER_RULES_H

/* Of one object: by the name used now, and by the inode. 0 = no rule. */
struct classes {
	__u32 name;
	__u32 inode;
};

/* The more specific of two, then the stricter. */
static __always_inline bool is_stronger(const struct abi_decision *one,
					const struct abi_decision *other)
{
	if (!other || one->rank != other->rank)
		return !other || one->rank > other->rank;
	return one->verdict > other->verdict;
}

/* What rules with sources say, for a subject by name and by inode, is more specific than what others do.
 * Apart, as is identity_class: keys of look-ups lie on the stack only while they are used. */
static __noinline const struct abi_decision *find_decision(const struct abi_set *set,
							    __u32 class_id, __u64 subject,
							    __u32 category)
{
	struct abi_decision_key key = {
		.set = set->id,
		.class_id = class_id,
		.subject = subject,
		.category = category,
	};
	const struct abi_decision *decision, *held;

	if (!class_id)
		return NULL;
	decision = bpf_map_lookup_elem(&decisions, &key);
	if (!subject)
		return decision;
	if (!key.subject)
		decision = NULL;
	if (subject >> 32) {
		key.subject = subject >> 32;
		held = bpf_map_lookup_elem(&decisions, &key);
		if (held && is_stronger(held, decision))
			decision = held;
	}
	if (decision)
		return decision;
	key.subject = 0;
	return bpf_map_lookup_elem(&decisions, &key);
}

static __always_inline __u8 unmatched_verdict(const struct abi_set *set, __u32 category)
{
	return category == ABI_PROCESS ? set->process_default : set->file_default;
}

/* Whether no rule of the set speaks of this name: told at a glance, or not at all. */
static __always_inline bool is_unruled(const struct abi_set *set, struct dentry *name)
{
	return set->flags & ABI_SET_EXACT && is_unknown_name(name);
}

/* Whether file rules and options, guards among them, have no word on a name and the file that has
 * it: told at a glance, or not at all. */
static __always_inline bool is_nobodys(const struct abi_set *set, struct dentry *name,
				       struct inode *inode)
{
	if (set->file_default > ABI_ALLOW || !is_unruled(set, name))
		return false;
	return !(set->flags & ABI_SET_IDENTITY) || !inode || is_unknown_inode(inode);
}

/* Sets that say something about opens. */
#define ABI_SET_OPENS                                                                              \
	(ABI_SET_FILE | ABI_SET_TAINT | ABI_SET_NO_POKE | ABI_SET_DENY_EXEC_READS |                \
	 ABI_SET_ALLOW_GUARD)

/* An open of these classes: what file rules say, and whether what may not be executed may be read;
 * what is executed may.
 * Apart, for the sake of its callers' stacks. */
static __noinline int decide_open(const struct abi_set *set, const struct classes *found,
				  __u64 subject, bool executed, struct outcome *out)
{
	out->verdict = ABI_NONE;
	out->reason = 0;
	out->first = out->second = NULL;
	out->primitive = 0;
	if (set->flags & ABI_SET_FILE)
		decide(find_decision(set, found->name, subject, ABI_FILE),
		       find_decision(set, found->inode, subject, ABI_FILE),
		       unmatched_verdict(set, ABI_FILE), out);
	if (set->flags & ABI_SET_DENY_EXEC_READS && !executed && out->verdict != ABI_BLOCK)
		decide_as_blocked(find_decision(set, found->inode, subject, ABI_PROCESS),
				  ABI_EXEC_READ, out);
	return 0;
}

/* What rules permit to be executed gets no other content, unless a rule on files permits that: `out` is
 * what those said. */
static __noinline int keep_permitted(const struct abi_set *set, const struct classes *found,
				     struct outcome *out)
{
	const struct abi_decision *kept;

	if (!(set->flags & ABI_SET_ALLOW_GUARD) || out->verdict == ABI_BLOCK)
		return 0;
	if (out->verdict == ABI_ALLOW && out->reason == ABI_RULE)
		return 0;
	kept = find_decision(set, found->name, 0, ABI_PERMITTED);
	if (!kept)
		kept = find_decision(set, found->inode, 0, ABI_PERMITTED);
	decide_as_blocked(kept, ABI_ALLOW_GUARD, out);
	return 0;
}

/* Whether an open of these classes is allowed without a word, whoever opens. Apart, for the sake of
 * its caller's stack. */
static __noinline bool settles(const struct abi_set *set, const struct classes *found)
{
	struct outcome out;

	if (!(set->flags & ABI_SET_OPENS))
		return false;
	if (set->flags & ABI_SET_SUBJECTS && (found->name || found->inode))
		return false;
	decide_open(set, found, 0, false, &out);
	return out.verdict <= ABI_ALLOW;
}

#endif
