/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * SipHash-1-3 (Aumasson, Bernstein: SipHash, a fast short-input PRF) with the boot's key; the
 * mirror of src/hash.rs.
 */
#ifndef KADAPTER_HASH_H
#define KADAPTER_HASH_H

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotate(__u64 x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

static __always_inline void sip_start(struct sip *s, const __u64 *key)
{
	s->v0 = key[0] ^ 0x736f6d6570736575ull;
	s->v1 = key[1] ^ 0x646f72616e646f6dull;
	s->v2 = key[0] ^ 0x6c7967656e657261ull;
	s->v3 = key[1] ^ 0x7465646279746573ull;
}

static __always_inline void sip_word(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

/* The last word has the length of all, modulo 256, in its first byte. */
static __always_inline __u64 sip_finish(struct sip *s, __u64 rest, __u64 len)
{
	sip_word(s, rest | len << 56);
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The root of a super block, for one set. */
static __always_inline __u64 hash_root(const __u64 *key, __u32 set, __u32 dev)
{
	struct sip s;

	sip_start(&s, key);
	sip_word(&s, set);
	sip_word(&s, dev);
	return sip_finish(&s, 0, 16);
}

#endif
