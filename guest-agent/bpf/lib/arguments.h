/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Execs that are decided by their arguments: put off until those lie where the new program will find
 * them, and nobody else can change them. The mirror of policy-model's arguments.rs; what cannot be
 * read is on no list.
 *
 * A script is out of sight by then, and its interpreter has words of its own before the script's. So
 * what a file is, and how many arguments it had, is noted when it is looked at; its own ones are the
 * last of those that there are in the end.
 */
#ifndef KADAPTER_ARGUMENTS_H
#define KADAPTER_ARGUMENTS_H

#define SIGKILL 9

/* Bytes of an argument that are hashed at once. */
#define ARGUMENT_WORDS 8
#define ARGUMENT_BYTES (ARGUMENT_WORDS * 8)
/* Of so many such pieces all arguments may consist: behind them nothing is on a list. */
#define MAX_PIECES (1 << 16)

/* Reads arguments, and keeps which lists have them all. */
struct reading {
	__u64 at; /* address of what is next */
	__u32 index; /* of its argument */
	__u32 first; /* the program's own name */
	__u32 argc;
	__u32 set;
	__u32 name_class;
	__u32 inode_class;
	__u32 name_lists;
	__u32 inode_lists;
	__u32 len; /* of this argument, up to here */
	__u32 done; /* all that matter were read */
	__u64 key[2];
	struct sip sip;
	__u64 words[ARGUMENT_WORDS + 1]; /* a NUL behind them */
};

static __always_inline void begin_argument(struct reading *r)
{
	r->len = 0;
	sip_start(&r->sip, r->key);
	sip_word(&r->sip, 0);
}

/* The program's own name counts only if it is alone. */
static __always_inline bool is_looked_up(const struct reading *r)
{
	return r->index > r->first || (r->index == r->first && r->argc == r->first + 1);
}

static __always_inline void strike_lists(struct reading *r, __u64 argument)
{
	r->name_lists &= said_of(r->set, r->name_class, ABI_DEV_ARGUMENT, argument);
	r->inode_lists &= said_of(r->set, r->inode_class, ABI_DEV_ARGUMENT, argument);
}

/* The hash is that of HashKey::name: of a zero, and the argument. */
static long read_piece(__u32 i, void *context)
{
	struct reading *r = context;
	__u64 rest = 0;
	__u32 left;
	long len;

	if (r->index >= r->argc || !(r->name_lists | r->inode_lists)) {
		r->done = 1;
		return 1;
	}
	__builtin_memset(r->words, 0, sizeof(r->words));
	len = read_user_text(r->words, ARGUMENT_BYTES + 1, r->at);
	if (len < 1 || len > ARGUMENT_BYTES + 1)
		return 1;
	left = len - 1;
	r->len += left;
	for (int word = 0; word < ARGUMENT_WORDS; word++) {
		rest = r->words[word];
		if (left < 8)
			break;
		sip_word(&r->sip, rest);
		left -= 8;
	}
	if (len == ARGUMENT_BYTES + 1) { /* there may be more of it */
		r->at += ARGUMENT_BYTES;
		return 0;
	}
	r->at += len;
	if (is_looked_up(r))
		strike_lists(r, sip_finish(&r->sip, rest, r->len + 8));
	r->index++;
	begin_argument(r);
	return 0;
}

/* Class of what is executed with arguments that these lists have all; 0 if there is none. */
static __always_inline __u32 class_with(__u32 set, __u32 class_id, __u32 lists)
{
	return lists ? said_of(set, class_id, ABI_DEV_LISTS, lists) : class_id;
}

/* Puts in the place of both classes what they are with the arguments at an address. Fails if that is
 * not known. */
static __noinline int apply_arguments(const struct abi_unjudged *file, struct classes *found,
				      __u64 arguments, __u32 argc)
{
	__u32 zero = 0;
	struct abi_settings *own = bpf_map_lookup_elem(&settings, &zero);
	struct reading r = {};

	if (!own)
		return -1;
	r.set = file->set;
	r.name_class = found->name;
	r.inode_class = found->inode;
	r.name_lists = said_of(r.set, found->name, ABI_DEV_LISTS, ABI_LISTS_ALL);
	r.inode_lists = said_of(r.set, found->inode, ABI_DEV_LISTS, ABI_LISTS_ALL);
	r.at = arguments;
	r.first = argc - file->argc;
	r.argc = argc;
	r.key[0] = own->hash_key[0];
	r.key[1] = own->hash_key[1];
	begin_argument(&r);
	bpf_loop(MAX_PIECES, read_piece, &r, 0);
	if (!r.done)
		return 0; /* they are what they are by themselves: on no list */
	found->name = class_with(r.set, found->name, r.name_lists);
	found->inode = class_with(r.set, found->inode, r.inode_lists);
	return (r.name_lists && !found->name) || (r.inode_lists && !found->inode) ? -1 : 0;
}

/* Whether an exec of these classes is decided when its arguments can be read, and not before. Where
 * they choose between applets, they may be unable to change that it is denied. */
static __noinline bool awaits_arguments(const struct abi_set *set, const struct classes *found,
					__u32 verdict)
{
	if (!(set->flags & ABI_SET_ARGUMENTS))
		return false;
	if (said_of(set->id, found->name, ABI_DEV_LISTS, ABI_LISTS_ALL) ||
	    said_of(set->id, found->inode, ABI_DEV_LISTS, ABI_LISTS_ALL))
		return true;
	if (!said_of(set->id, found->inode, ABI_DEV_APPLET, ABI_APPLET_ANY))
		return false;
	return verdict != ABI_BLOCK ||
	       said_of(set->id, found->inode, ABI_DEV_APPLET, ABI_APPLET_MAY_PERMIT);
}

/* Notes a file whose exec is put off. Fails if there are too many. */
static __always_inline int put_off(struct scope *s, const struct classes *found, __u32 argc)
{
	struct abi_task *label = s->label;
	struct abi_unjudged *file;
	__u32 at = label->unjudged;

	if (at >= ABI_MAX_UNJUDGED) {
		s->cause = ABI_CAUSE_ARGUMENTS;
		return -1;
	}
	file = &label->files[at];
	file->set = s->set->id;
	file->name_class = found->name;
	file->inode_class = found->inode;
	file->subject = s->set->flags & ABI_SET_SUBJECTS ? label->subject : 0;
	file->held = s->set->flags & ABI_SET_SUBJECTS ? label->held : 0;
	file->argc = argc;
	label->unjudged = at + 1;
	label->judged = 0;
	return 0;
}

/* Decides what was put off. Returns 0, or -1 if it could not be decided. */
static __noinline int judge_arguments(const struct abi_set *set, const struct abi_unjudged *file,
				      struct linux_binprm *bprm, struct outcome *out)
{
	__u64 subject = both_subjects(file->subject, file->held);
	__u32 argc = bprm->argc;
	struct classes found;

	if (!set)
		return -1;
	/* Another set came in the meantime: nobody knows the classes of this one any more. */
	if (file->set != set->id || !file->argc || argc < file->argc)
		return -1;
	found.name = file->name_class;
	found.inode = class_of_invocation(set, file->inode_class, bprm->p, argc, file->argc);
	if (apply_arguments(file, &found, bprm->p, argc))
		return -1;
	decide(find_decision(set, found.name, subject, ABI_PROCESS),
	       find_decision(set, found.inode, subject, ABI_PROCESS),
	       unmatched_verdict(set, ABI_PROCESS), out);
	return 0;
}

/* A script is shown as it was called, for its file is out of sight. */
static __noinline int report_late(struct scope *s, struct outcome *out, struct linux_binprm *bprm,
				  bool script)
{
	struct report r = {
		.scope = s,
		.outcome = out,
		.paths = true,
		.hook = ABI_BPRM_COMMITTED_CREDS,
		.category = ABI_PROCESS,
		.errno_value = out->verdict == ABI_BLOCK ? EACCES : 0,
		.file = bprm->file,
		.called = script ? (__u64)bprm->filename : 0,
		.arguments = bprm->p,
		.argc = bprm->argc,
	};

	emit_event(&r);
	return 0;
}

/* Ends the task. If the kernel would not send the signal, the label is one of no registration from here
 * on: whatever the task tries next is denied, by every hook and also for its children. */
static __always_inline void kill_current(struct scope *s)
{
	if (!bpf_send_signal(SIGKILL) || !bpf_send_signal_thread(SIGKILL))
		return;
	count_undecided(s, ABI_CAUSE_SIGNAL);
	if (s->label)
		*(volatile __u32 *)&s->label->container = 0;
}

/* The program was put in place already: it is killed before its first instruction. */
static __always_inline bool decide_late(struct scope *s, const struct abi_unjudged *file,
					struct linux_binprm *bprm)
{
	struct outcome out = {};

	if (s->set)
		s->cause = ABI_CAUSE_ARGUMENTS;
	if (judge_arguments(s->set, file, bprm, &out))
		give_up(&out);
	if (out.verdict >= ABI_AUDIT)
		report_late(s, &out, bprm, bprm->argc != file->argc);
	if (out.verdict != ABI_BLOCK)
		return false;
	kill_current(s);
	return true;
}

#endif
