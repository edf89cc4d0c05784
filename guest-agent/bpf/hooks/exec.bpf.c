/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Programs: may this file be executed, and who is acting afterwards. */

SEC("lsm/bprm_check_security")
int BPF_PROG(bprm_check_security, struct linux_binprm *bprm, int ret)
{
	struct outcome out = {};
	struct code code = {};
	struct scope s;
	int scope, denied;
	__u8 primitive;

	if (ret)
		return ret;
	scope = enter(&s, is_unlabelled() ? NULL : any_label());
	if (scope == OUT_OF_SCOPE) {
		scope = adopt(&s);
		if (scope == BROKEN_SCOPE && !s.label) {
			out.verdict = ABI_BLOCK;
			out.reason = ABI_GUARD;
			count(ABI_GUARD_DENIALS);
			return conclude(&s, &out, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
		}
	}
	if (scope == OUT_OF_SCOPE)
		return 0;
	if (scope == BROKEN_SCOPE)
		return refuse(&s, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
	s.label->unjudged = 0;
	if (s.set->flags & ABI_SET_PROCESS) {
		if (judge_exec(&s, bprm->file, &out))
			return refuse(&s, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
		s.label->unjudged = awaits_arguments(&s, bprm->file, &out);
		if (!s.label->unjudged) {
			denied = conclude(&s, &out, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
			if (denied)
				return denied;
		}
	}
	if (!(s.set->flags & ABI_SET_CODE))
		return 0;
	if (look_at(&s, bprm->file, &code))
		return refuse(&s, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
	primitive = refuse_exec(&code);
	return primitive ? refuse_by(&s, primitive, bprm->file, ABI_BPRM_CHECK_SECURITY) : 0;
}

/* The task acts as another program from now on. If it fails, the subject stays that of an older set and
 * is computed at the next decision, which denies if it fails there too. */
static __always_inline void act_as(struct scope *s, struct linux_binprm *bprm)
{
	if (!(s->set->flags & ABI_SET_SUBJECTS))
		return;
	if (set_subject(s, BPF_CORE_READ(bprm, file, f_path.dentry)))
		s->label->subject_set = 0;
}

SEC("lsm/bprm_committed_creds")
int BPF_PROG(bprm_committed_creds, struct linux_binprm *bprm)
{
	struct abi_task *label = is_unlabelled() ? NULL : any_label();
	struct scope s;

	if (!label)
		return 0;
	label->pending = 0;
	/* What awaits its arguments is judged by exec_arguments, with the subject that executes. */
	if (!label->unjudged && enter(&s, label) == IN_SCOPE)
		act_as(&s, bprm);
	return 0;
}

/* Of the same hook, and attached after the other when a set first has rules on arguments. */
SEC("lsm/bprm_committed_creds")
int BPF_PROG(exec_arguments, struct linux_binprm *bprm)
{
	struct abi_task *label = is_unlabelled() ? NULL : any_label();
	struct scope s;

	if (!label || !label->unjudged)
		return 0;
	label->unjudged = 0;
	if (enter(&s, label) != IN_SCOPE)
		s.set = NULL; /* leaves nothing to judge by, which denies */
	if (!decide_by_arguments(&s, bprm) && s.set)
		act_as(&s, bprm);
	return 0;
}
