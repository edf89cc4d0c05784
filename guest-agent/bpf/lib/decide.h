/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The decision: a pure function of records that were looked up before. No helper is called here,
 * so that the host can compile it and hold it against policy-model's eval.
 */
#ifndef KADAPTER_DECIDE_H
#define KADAPTER_DECIDE_H

#include "abi.h"

struct outcome {
	const struct abi_decision *first;  /* decided */
	const struct abi_decision *second; /* decided too, of the same rank */
	__u8 verdict;			   /* ABI_NONE: nothing speaks of this access */
	__u8 reason;
	__u8 primitive; /* abi_primitive that decided, or made a rule speak; 0 = none */
};

/* A rule by name and one by identity: the more specific wins, then the stricter. A record that
 * permits is not named beside one that does not. */
static inline void decide(const struct abi_decision *by_name, const struct abi_decision *by_identity,
			  __u8 unmatched, struct outcome *out)
{
	const struct abi_decision *first = by_name, *second = by_identity;

	out->second = 0;
	out->primitive = 0;
	if (!first || (second && second->rank > first->rank) ||
	    (second && second->rank == first->rank && second->verdict > first->verdict)) {
		first = by_identity;
		second = by_name;
	}
	out->first = first;
	if (!first) {
		out->verdict = unmatched;
		out->reason = ABI_POSTURE;
		return;
	}
	out->verdict = first->verdict;
	out->reason = ABI_RULE;
	if (second && second->rank == first->rank &&
	    (second->verdict > ABI_ALLOW || first->verdict == ABI_ALLOW))
		out->second = second;
}

/* The rules of the program say it may not be executed; an option has them speak of this access. */
static inline void decide_as_blocked(const struct abi_decision *exec, __u8 primitive,
				     struct outcome *out)
{
	if (!exec || exec->verdict != ABI_BLOCK)
		return;
	out->first = exec;
	out->second = 0;
	out->verdict = ABI_BLOCK;
	out->reason = ABI_RULE;
	out->primitive = primitive;
}

/* An option denies, for no rule. */
static inline void deny_by_option(struct outcome *out, __u8 primitive)
{
	out->first = out->second = 0;
	out->verdict = ABI_BLOCK;
	out->reason = ABI_HARDENING;
	out->primitive = primitive;
}

/* What options look at when code is to be run from a file or memory. */
struct code {
	__u32 options; /* ABI_SET_* */
	__u8 has_file; /* a regular one, of a file system */
	__u8 tainted;
	__u8 unlinked;
	__u8 foreign; /* of a file system that came after the rules */
	__u8 writable; /* a private map that can be written at once */
	__u8 modified; /* a private map that was written */
};

/* The option that refuses an exec, 0 = none. */
static inline __u8 refuse_exec(const struct code *c)
{
	if (c->options & ABI_SET_TAINT && c->tainted)
		return ABI_TAINT;
	if (c->options & ABI_SET_NO_UNLINKED_EXEC && c->unlinked)
		return ABI_UNLINKED_EXEC;
	if (c->options & ABI_SET_KNOWN_FILE_SYSTEMS && c->foreign)
		return ABI_UNKNOWN_FILE_SYSTEM;
	return 0;
}

/* The option that refuses to map something executable, 0 = none. */
static inline __u8 refuse_map(const struct code *c)
{
	if (c->options & ABI_SET_TAINT && c->tainted)
		return ABI_TAINT;
	if (c->options & ABI_SET_KNOWN_FILE_SYSTEMS && c->foreign)
		return ABI_UNKNOWN_FILE_SYSTEM;
	if (c->options & ABI_SET_NO_ANONYMOUS_EXEC &&
	    (!c->has_file || c->unlinked || c->writable))
		return ABI_ANONYMOUS_EXEC;
	if (c->options & ABI_SET_NO_EXECMOD && c->modified)
		return ABI_EXECMOD;
	return 0;
}

#endif
