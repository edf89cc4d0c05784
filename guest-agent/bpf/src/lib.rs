// SPDX-License-Identifier: Apache-2.0
//! The guest's BPF object and what the agent must know to speak with it.
//!
//! Owns the compiled programs ([`OBJECT`]), the mirrored C structures ([`abi`]) and the hash that
//! stands for a path ([`hash`]). It loads nothing and makes no system call.

pub mod abi;
pub mod hash;

/// The programs, compiled by `build.rs`; BTF included, debug information stripped.
pub static OBJECT: &[u8] = &ALIGNED.0;

/// Parsers of ELF files want eight-byte alignment; `include_bytes` promises one.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kadapter.bpf.o")));
