/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Mounts: none over what a rule names, none of another pod's files, none at all if an option says so. */

#define MS_REMOUNT 32
#define MS_BIND 4096
/* shared, private, slave, unbindable */
#define MS_PROPAGATION (15ul << 17)

#define CAP_SYS_ADMIN 21
#define CAP_OPT_NOAUDIT 2

static __always_inline bool is_blocked_class(const struct abi_set *set, __u32 class_id,
					     __u32 category)
{
	const struct abi_decision *decision = find_decision(set, class_id, 0, category);

	return decision && decision->verdict == ABI_BLOCK;
}

/* Whether a mount here would hide what a Block rule names, or put something else under its name, or
 * under one that a guard keeps. */
static __noinline int covers_rule(struct scope *s, struct dentry *point)
{
	const struct abi_set *set = s->set;
	struct attempt a = { .dentry = address_of(point) };
	__u32 class_id;

	a.set = s->set;
	if (!set || walk_steadily(&a))
		return -1;
	class_id = a.place;
	if (node_flags(a.place) &
	    (ABI_NODE_ABOVE_BLOCK | ABI_NODE_NAMES_ONLY | ABI_NODE_ABOVE_PERMITTED))
		return 1;
	if (set->flags & ABI_SET_ALLOW_GUARD && find_decision(set, class_id, 0, ABI_PERMITTED))
		return 1;
	return is_blocked_class(set, class_id, ABI_PROCESS) ||
	       is_blocked_class(set, class_id, ABI_FILE);
}

static __always_inline int mount_at(const struct path *point, __u32 hook)
{
	struct change c = { .path = point, .hook = hook };
	struct outcome out = {
		.verdict = ABI_BLOCK,
		.reason = ABI_HARDENING,
		.primitive = ABI_COVERING_MOUNT,
	};
	struct scope s;
	int scope = enter(&s, is_unlabelled() ? NULL : own_label());
	int covers;

	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return refuse(&s, NULL, hook, ABI_PROCESS);
	if (!(s.set->flags & (ABI_SET_BLOCKS | ABI_SET_ALLOW_GUARD)))
		return 0;
	covers = covers_rule(&s, point->dentry);
	if (!covers)
		return 0;
	if (covers < 0) {
		s.cause = ABI_CAUSE_PLACE;
		return refuse(&s, NULL, hook, ABI_PROCESS);
	}
	return report_change(&s, &out, &c, hook, ABI_PROCESS);
}

SEC("lsm/sb_mount")
int BPF_PROG(sb_mount, const char *dev_name, const struct path *path, const char *type,
	     unsigned long flags, void *data, int ret)
{
	if (ret)
		return ret;
	/* The kernel looks at these in this order: path_mount in fs/namespace.c. */
	if (flags & MS_REMOUNT || (!(flags & MS_BIND) && flags & MS_PROPAGATION))
		return 0;
	return mount_at(path, ABI_SB_MOUNT);
}

SEC("lsm/move_mount")
int BPF_PROG(move_mount, const struct path *from_path, const struct path *to_path, int ret)
{
	return ret ? ret : mount_at(to_path, ABI_MOVE_MOUNT);
}

/* Reached by mount(2) and by fsmount(2). A virtio-fs share has the files of all containers of the
 * pod, and a bpffs is a step towards the programs. */
SEC("lsm/sb_kern_mount")
int BPF_PROG(sb_kern_mount, const struct super_block *sb, int ret)
{
	struct abi_task *label;
	char type[9] = {};

	if (ret)
		return ret;
	label = is_unlabelled() ? NULL : own_label();
	if (!label)
		return 0;
	if (bpf_probe_read_kernel_str(type, sizeof(type), sb->s_type->name) < 0)
		return defend(label, ABI_SB_KERN_MOUNT);
	if (!bpf_strncmp(type, sizeof(type), "virtiofs") || !bpf_strncmp(type, 4, "bpf"))
		return defend(label, ABI_SB_KERN_MOUNT);
	return 0;
}

/* Whether the kernel acts for the task with privileges that are not the task's, as an overlay does
 * in its layers with those of who mounted it. */
static __always_inline bool is_lent(const struct cred *cred)
{
	return address_of(cred) != (__u64)BPF_CORE_READ(bpf_get_current_task_btf(), real_cred);
}

SEC("lsm/capable")
int BPF_PROG(capable, const struct cred *cred, struct user_namespace *ns, int cap,
	     unsigned int opts, int ret)
{
	struct scope s;
	int scope;

	if (ret)
		return ret;
	if (cap != CAP_SYS_ADMIN || is_unlabelled())
		return 0;
	scope = enter(&s, own_label());
	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return deny_undecided(&s, ABI_CAUSE_RULES, ABI_CAPABLE, EPERM);
	if (!(s.set->flags & ABI_SET_NO_NEW_MOUNTS) || is_lent(cred))
		return 0;
	/* A question that the kernel asks itself, as it does at each fork: nobody tries anything. */
	if (opts & CAP_OPT_NOAUDIT)
		return -EPERM;
	return refuse_privilege(&s, ABI_NEW_MOUNT, ABI_CAPABLE);
}

SEC("lsm/userns_create")
int BPF_PROG(userns_create, const struct cred *cred, int ret)
{
	struct scope s;
	int scope;

	if (ret)
		return ret;
	scope = enter(&s, is_unlabelled() ? NULL : own_label());
	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return deny_undecided(&s, ABI_CAUSE_RULES, ABI_USERNS_CREATE, EPERM);
	if (!(s.set->flags & ABI_SET_NO_USER_NAMESPACES))
		return 0;
	return refuse_privilege(&s, ABI_USER_NAMESPACE, ABI_USERNS_CREATE);
}
