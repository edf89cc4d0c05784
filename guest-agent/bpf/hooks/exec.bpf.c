/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Programs: may this file be executed, and who is acting afterwards. */

SEC("lsm/bprm_check_security")
int BPF_PROG(bprm_check_security, struct linux_binprm *bprm, int ret)
{
	struct outcome out = {};
	struct classes found = {};
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
	/* Not yet a script's interpreter: what another exec has put off is over. */
	if (bprm->interp == bprm->filename)
		s.label->unjudged = 0;
	if (s.set->flags & ABI_SET_PROCESS) {
		if (judge_exec(&s, bprm->file, &found, &out))
			return refuse(&s, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
		if (!awaits_arguments(s.set, &found, out.verdict))
			denied = conclude(&s, &out, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
		else if (put_off(&s, &found, bprm->argc))
			denied = refuse(&s, bprm->file, ABI_BPRM_CHECK_SECURITY, ABI_PROCESS);
		else
			denied = 0;
		if (denied)
			return denied;
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
	note_program(label, bprm->file->f_inode);
	if (enter(&s, label) == IN_SCOPE)
		act_as(&s, bprm);
	return 0;
}

/* Of the same hook, and attached beside the other when a set first has rules on arguments: either may
 * come first. */
SEC("lsm/bprm_committed_creds")
int BPF_PROG(exec_arguments, struct linux_binprm *bprm)
{
	struct abi_task *label = is_unlabelled() ? NULL : any_label();
	struct scope s;
	__u32 awaited;

	if (!label)
		return 0;
	awaited = label->unjudged;
	label->unjudged = 0;
	label->judged = 0;
	if (!awaited)
		return 0;
	if (enter(&s, label) != IN_SCOPE)
		s.set = NULL; /* leaves nothing to judge by, which denies */
	for (int at = 0; at < ABI_MAX_UNJUDGED; at++)
		if (at < awaited && decide_late(&s, &label->files[at], bprm))
			return 0;
	label->judged = awaited;
	return 0;
}
