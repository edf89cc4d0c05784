// SPDX-License-Identifier: Apache-2.0
//! Bounds of the contract, each with its derivation. Nothing above them is ever applied in part.

/// Rules of one container. A deliberate ceiling ten times above the largest set that is measured
/// (10,000): what exceeds it is a generator that ran away.
pub const MAX_RULES: usize = 100_000;

/// Bytes of an encoded rule set: [`MAX_RULES`] rules of about 160 bytes.
pub const MAX_RULE_SET_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a path, without the terminating NUL: the kernel's PATH_MAX is 4096 with it.
pub const MAX_PATH_BYTES: usize = 4095;

/// Bytes of one path component: the kernel's NAME_MAX.
pub const MAX_NAME_BYTES: usize = 255;

/// Components of a rule's path. The engine hashes at most this many plus the prefix of a mount
/// (see `abi::MAX_DEPTH`); accesses may be deeper.
pub const MAX_RULE_COMPONENTS: usize = 96;

/// Sources of one rule.
pub const MAX_SOURCES: usize = 64;

/// Arguments that a rule allows, and bytes of one.
pub const MAX_ALLOWED_ARGS: usize = 64;
/// Bytes of one allowed argument: a page, as the longest that is sensible to compare.
pub const MAX_ARG_BYTES: usize = 4096;

/// Bytes of a namespace, pod, uid or container name: Kubernetes allows 253 for the longest of
/// them (a DNS subdomain).
pub const MAX_TARGET_BYTES: usize = 253;

/// Applet names of one object: busybox has about 400.
pub const MAX_APPLETS: usize = 1024;

/// Bytes of a compiled pattern.
pub const MAX_AUTOMATON_BYTES: usize = 64 * 1024;

/// System call numbers of one rule: x86-64 has fewer than 512.
pub const MAX_SYSCALLS: usize = 512;

/// Bytes of a capability or DNS name: RFC 1035 allows 253 characters.
pub const MAX_WORD_BYTES: usize = 253;

/// Names that an inode may have and still be held by identity. A multi-call binary has one per
/// applet, and labelling it would label them all.
pub const MAX_IDENTITY_LINKS: u64 = 7;

/// Bytes of one message between relay and guest. Rule sets go in chunks of 256 KiB; the largest
/// others are the status of 256 containers with [`MAX_RESIDUE_BYTES`] and some names each, and a
/// question about 4,096 names of 1 KiB.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of the residues that a message names for one container: a hundred with usual paths, and at
/// least one with the longest.
pub const MAX_RESIDUE_BYTES: usize = 8 * 1024;

/// Signatures of one envelope: one for each key while keys are changed, with room.
pub const MAX_SIGNATURES: usize = 8;

/// Bytes of all texts of an event. A record has 2.3 KiB of them, or 10 with paths of PATH_MAX, each
/// byte of which may become the three of U+FFFD.
pub const MAX_EVENT_TEXT_BYTES: usize = 32 * 1024;

/// Arguments of an event: a record has 512 bytes of them, and each takes two at least.
pub const MAX_EVENT_ARGS: usize = 512;

/// Rules of an event: a record names eight.
pub const MAX_EVENT_RULES: usize = 64;

/// Bytes of an encoded event: its texts and as much for all else.
pub const MAX_EVENT_BYTES: usize = 2 * MAX_EVENT_TEXT_BYTES;
