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
};

/* A rule by name and one by identity: the more specific wins, then the stricter. A record that
 * permits is not named beside one that does not. */
static inline void decide(const struct abi_decision *by_name, const struct abi_decision *by_identity,
			  __u8 unmatched, struct outcome *out)
{
	const struct abi_decision *first = by_name, *second = by_identity;

	out->second = 0;
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

#endif
