/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The programs' decision, compiled for the host: facts come in on standard input, a line each, and
 * verdicts go out in the same order. One command for each function of decide.h.
 *
 *   decide UNMATCHED NAME IDENTITY  ->  VERDICT REASON PRIMITIVE RULE...
 *   blocked PRIMITIVE RECORD        ->  the same
 *   exec OPTIONS FACTS              ->  the same; FACTS as letters of struct code
 *   map OPTIONS FACTS               ->  the same
 *
 * A record that was looked up is `-` if there is none, else RANK:VERDICT:TOTAL:RULE,RULE,...
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/decide.h"

static void die(const char *what)
{
	fprintf(stderr, "not understood: %s\n", what);
	exit(1);
}

static char *word(char **line)
{
	char *found = strsep(line, " \n");

	if (!found || !*found)
		die("a word is missing");
	return found;
}

static __u32 number(char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || value > UINT32_MAX)
		die(text);
	return value;
}

/* NULL if there is no record. */
static const struct abi_decision *record(char *text, struct abi_decision *into)
{
	char *id;

	memset(into, 0, sizeof(*into));
	if (!strcmp(text, "-"))
		return NULL;
	into->rank = number(strsep(&text, ":"));
	into->verdict = number(text ? strsep(&text, ":") : "");
	into->total_rules = number(text ? strsep(&text, ":") : "");
	while (text && (id = strsep(&text, ","))) {
		if (into->rules_len == ABI_MAX_RULES)
			die("too many rules");
		into->rules[into->rules_len++] = strtoull(id, NULL, 10);
	}
	return into;
}

static void print_rules(const struct abi_decision *decision)
{
	for (int i = 0; decision && i < decision->rules_len; i++)
		printf(" %" PRIu64, decision->rules[i]);
}

static void print_outcome(const struct outcome *out)
{
	printf("%u %u %u", out->verdict, out->reason, out->primitive);
	print_rules(out->first);
	print_rules(out->second);
	printf("\n");
}

static void run_decide(char **line)
{
	struct abi_decision name, identity;
	__u8 unmatched = number(word(line));
	const struct abi_decision *by_name = record(word(line), &name);
	const struct abi_decision *by_identity = record(word(line), &identity);
	struct outcome out = {};

	decide(by_name, by_identity, unmatched, &out);
	print_outcome(&out);
}

static void run_blocked(char **line)
{
	struct abi_decision exec;
	__u8 primitive = number(word(line));
	struct outcome out = {};

	decide_as_blocked(record(word(line), &exec), primitive, &out);
	print_outcome(&out);
}

/* As lib/emit.h concludes from a primitive. */
static void run_code(char **line, __u8 (*refuse)(const struct code *))
{
	struct code code = { .options = number(word(line)) };
	const char *facts = word(line);
	struct outcome out = {};

	code.has_file = !!strchr(facts, 'f');
	code.tainted = !!strchr(facts, 't');
	code.unlinked = !!strchr(facts, 'u');
	code.foreign = !!strchr(facts, 'o');
	code.writable = !!strchr(facts, 'w');
	code.modified = !!strchr(facts, 'm');
	out.primitive = refuse(&code);
	if (out.primitive) {
		out.verdict = ABI_BLOCK;
		out.reason = ABI_HARDENING;
	}
	print_outcome(&out);
}

int main(void)
{
	char buffer[1024], *line, *command;

	while ((line = fgets(buffer, sizeof(buffer), stdin))) {
		command = word(&line);
		if (!strcmp(command, "decide"))
			run_decide(&line);
		else if (!strcmp(command, "blocked"))
			run_blocked(&line);
		else if (!strcmp(command, "exec"))
			run_code(&line, refuse_exec);
		else if (!strcmp(command, "map"))
			run_code(&line, refuse_map);
		else
			die(command);
	}
	return ferror(stdin) || fflush(stdout) ? 1 : 0;
}
