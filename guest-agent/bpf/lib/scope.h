/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Whose task is this, and which set is in force for it. A task belongs to a container by its
 * label alone: namespaces can be left, the label cannot.
 */
#ifndef KADAPTER_SCOPE_H
#define KADAPTER_SCOPE_H

enum scope_result { OUT_OF_SCOPE = 0, IN_SCOPE = 1, BROKEN_SCOPE = 2 };

struct scope {
	struct abi_task *label;
	struct abi_set *set;
	__u32 slot;
	__u32 container;
	__u32 cause; /* abi_cause, if nothing can be decided */
};

static __always_inline int find_set(struct scope *s)
{
	struct abi_slot *slot = bpf_map_lookup_elem(&slots, &s->slot);
	__u32 index, id;

	if (!slot || slot->container != s->container)
		return BROKEN_SCOPE;
	id = *(volatile __u32 *)&slot->set;
	index = s->slot * 2 + (id & 1);
	s->set = bpf_map_lookup_elem(&sets, &index);
	if (!s->set || !id || s->set->id != id)
		return BROKEN_SCOPE;
	return IN_SCOPE;
}

/* Counts a denial without a decision: for the container, if the label is of one that is there. */
static __noinline int count_undecided(const struct scope *s, __u32 cause)
{
	__u32 slot = s->slot, index;
	struct abi_slot *known = bpf_map_lookup_elem(&slots, &slot);
	__u64 *value;

	if (!known || !s->container || known->container != s->container)
		slot = ABI_MAX_SLOTS;
	index = slot * ABI_CAUSES + (cause & (ABI_CAUSES - 1));
	value = bpf_map_lookup_elem(&undecided, &index);
	if (value)
		__sync_fetch_and_add(value, 1);
	count(ABI_FAIL_CLOSED_DENIALS);
	return 0;
}

static __always_inline int enter_with(struct scope *s, struct abi_task *label)
{
	s->label = label;
	s->slot = label->slot;
	s->container = label->container;
	/* Once more if two switches overtook us between slot and set. */
	return find_set(s) == IN_SCOPE ? IN_SCOPE : find_set(s);
}

/* Whether a task may have a label: somebody once kept something with it. That is not true of what is
 * no container's, and costs a tenth of asking. */
static __always_inline bool is_labelled(struct task_struct *task)
{
	return task->bpf_storage;
}

static __always_inline bool is_unlabelled(void)
{
	return !is_labelled(bpf_get_current_task_btf());
}

/* Label of the current task, also while the runtime prepares the container in it. */
static __always_inline struct abi_task *any_label(void)
{
	return bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), NULL, 0);
}

/* Label of the current task, if it runs the container's own code. */
static __always_inline struct abi_task *own_label(void)
{
	struct abi_task *label = any_label();

	return label && !label->pending ? label : NULL;
}

/* The set of a task that runs the container's own code, and copies nothing up; the label itself is
 * left out. The kernel keeps a map's value of a task at one place of a small cache, and the first map
 * of its kind has the first place: it is read there without the helper's call and locks. False if
 * that is not all there is to it, and the whole has to be asked.
 * https://github.com/torvalds/linux/blob/v6.12/include/linux/bpf_local_storage.h#L93 */
static __always_inline bool glance(struct task_struct *task, struct scope *s)
{
	struct bpf_local_storage_data *kept = task->bpf_storage->cache[0];
	const __u8 *label = kept->data;
	__u64 where;

	if ((void *)kept->smap != (void *)&tasks)
		return false;
	if (kernel_word((__u64)label + offsetof(struct abi_task, pending)))
		return false;
	where = kernel_word((__u64)label + offsetof(struct abi_task, slot));
	s->label = NULL;
	s->slot = where;
	s->container = where >> 32;
	return find_set(s) == IN_SCOPE;
}

static __always_inline int enter(struct scope *s, struct abi_task *label)
{
	s->label = NULL;
	s->set = NULL;
	s->slot = 0;
	s->container = 0;
	s->cause = ABI_CAUSE_RULES;
	return label ? enter_with(s, label) : OUT_OF_SCOPE;
}

/* Whether the task executes what is held for this class, and its arguments permitted that. */
static __always_inline bool was_judged(const struct scope *s, __u32 class_id)
{
	const struct abi_task *label = s->label;

	if (!label || !class_id)
		return false;
	for (int at = 0; at < ABI_MAX_UNJUDGED; at++)
		if (at < label->judged && label->files[at].set == s->set->id &&
		    label->files[at].inode_class == class_id)
			return true;
	return false;
}

#endif
