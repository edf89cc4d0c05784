/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Programs of a multi-call binary, by the arguments of the exec: the mirror of policy-model's
 * applet.rs. They are read where the new program will find them, before it runs; what cannot be read
 * could be any.
 */
#ifndef KADAPTER_APPLET_H
#define KADAPTER_APPLET_H

/* Bytes that are read at once, with a NUL: a base name fits, or is no applet's. */
#define APPLET_BYTES 64
/* Chunks of an argument in which its base name is looked for: PATH_MAX. */
#define MAX_CHUNKS 64
/* Arguments that may be names of the binary itself. */
#define MAX_OWN_NAMES 4

enum invocation { INVOKED_UNKNOWN = 0, INVOKED_BINARY = 1, INVOKED_APPLET = 2 };

struct invoked {
	__u64 at;   /* address of what is next */
	__u64 base; /* of the base name of this argument */
	__u32 index; /* of the argument */
	__u32 chunks; /* of it that were read, and did not end it */
	__u32 set;
	__u32 class_id; /* of the binary */
	__u32 argc;
	__u32 variant; /* class of the binary as this applet */
	__u32 what;    /* enum invocation */
	__u64 key[2];
	__u64 name[APPLET_BYTES / 8];
};

static __always_inline __u64 bytes_of(const char *text)
{
	__u64 word = 0;

	for (int at = 0; at < 8; at++) {
		if (!text[at])
			break;
		word |= (__u64)text[at] << (8 * at);
	}
	return word;
}

static __always_inline bool is_own_name(const __u64 *name)
{
	__u64 seven = name[0] & 0x00ffffffffffffffull;

	return seven == bytes_of("busybox") || seven == bytes_of("toybox") ||
	       (name[0] == bytes_of("coreutil") && (name[1] & 0xffff) == 's');
}

/* Where the applet's name begins in a base name. */
static __always_inline __u32 skip_prefix(const __u64 *name)
{
	if (name[0] == bytes_of("--coreut") && name[1] == bytes_of("ils-prog")) {
		if ((name[2] & 0xff) == '=')
			return 17;
		if (name[2] == bytes_of("-shebang") && (name[3] & 0xff) == '=')
			return 25;
	}
	return (name[0] & 0xff) == '-';
}

/* The hash of HashKey::name: of a zero, and the name. */
static __always_inline __u64 hash_name(const __u64 *key, const __u64 *name, __u32 len)
{
	__u32 left = len;
	__u64 rest = 0;
	struct sip sip;

	sip_start(&sip, key);
	sip_word(&sip, 0);
	for (int word = 0; word < APPLET_BYTES / 8; word++) {
		rest = name[word];
		if (left < 8)
			break;
		sip_word(&sip, rest);
		left -= 8;
	}
	return sip_finish(&sip, rest, len + 8);
}

/* Reads a name; what is behind its NUL stays zero. Returns its length, or -1. */
static __always_inline long read_name(__u64 *name, __u64 address)
{
	long len;

	__builtin_memset(name, 0, APPLET_BYTES);
	len = read_user_text(name, APPLET_BYTES, address);
	return len < 1 || len >= APPLET_BYTES ? -1 : len - 1;
}

/* What is behind the last slash of an argument that was read to its end: whether it tells. */
static __always_inline bool reads_as_name(struct invoked *v)
{
	__u32 skip;
	long len = read_name(v->name, v->base);

	if (len < 0)
		return true;
	skip = skip_prefix(v->name);
	if (skip)
		len = read_name(v->name, v->base + skip);
	if (len < 0)
		return true;
	if (is_own_name(v->name))
		return false;
	v->variant = said_of(v->set, v->class_id, ABI_DEV_APPLET, hash_name(v->key, v->name, len));
	v->what = INVOKED_APPLET;
	return true;
}

static __always_inline void begin_word(struct invoked *v)
{
	v->base = v->at;
	v->chunks = 0;
}

/* Reads a chunk of an argument: its length with a NUL, 0 if it cannot be read, and above that how
 * much of it comes before what is behind its last slash. Global, hence verified by itself: nobody has
 * to go on with each place at which the loop may end. */
__noinline __u64 scan_chunk(__u64 address)
{
	char chunk[APPLET_BYTES] = {};
	long len = read_user_text(chunk, sizeof(chunk), address);
	__u64 before = 0;

	if (len < 1 || len > APPLET_BYTES)
		return 0;
	for (int at = 0; at < APPLET_BYTES - 1; at++)
		if (chunk[at] == '/')
			before = at + 1;
	return before << 32 | len;
}

/* Goes on to the end of an argument, then to the next one. */
static long next_chunk(__u32 i, void *context)
{
	struct invoked *v = context;
	__u64 found;
	__u32 len;

	if (v->index >= v->argc) {
		v->what = INVOKED_BINARY;
		return 1;
	}
	if (v->index == MAX_OWN_NAMES)
		return 1;
	found = scan_chunk(v->at);
	len = found;
	if (!len)
		return 1;
	if (found >> 32)
		v->base = v->at + (found >> 32);
	if (len == APPLET_BYTES) { /* there may be more of it */
		v->at += APPLET_BYTES - 1;
		return ++v->chunks == MAX_CHUNKS;
	}
	v->at += len;
	if (reads_as_name(v))
		return 1;
	v->index++;
	begin_word(v);
	return 0;
}

/* Class of the binary of this class, as it is asked for by the arguments at an address. With more of
 * them than it had itself, it is a script, and no applet. */
static __noinline __u32 class_of_invocation(const struct abi_set *set, __u32 class_id,
					    __u64 arguments, __u32 argc, __u32 own_argc)
{
	__u32 any = said_of(set->id, class_id, ABI_DEV_APPLET, ABI_APPLET_ANY), zero = 0;
	struct abi_settings *own = bpf_map_lookup_elem(&settings, &zero);
	struct invoked v = {};

	if (!any || !own || argc != own_argc)
		return any ? any : class_id;
	v.at = arguments;
	v.set = set->id;
	v.class_id = class_id;
	v.argc = argc;
	v.key[0] = own->hash_key[0];
	v.key[1] = own->hash_key[1];
	begin_word(&v);
	bpf_loop(MAX_OWN_NAMES * MAX_CHUNKS + 1, next_chunk, &v, 0);
	if (v.what == INVOKED_UNKNOWN)
		return any;
	return v.what == INVOKED_APPLET && v.variant ? v.variant : class_id;
}

#endif
