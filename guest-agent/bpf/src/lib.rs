// SPDX-License-Identifier: Apache-2.0
//! The guest's BPF object and what the agent must know to speak with it.
//!
//! Owns the compiled programs ([`OBJECT`]), the mirrored C structures ([`abi`]), the hash that
//! stands for a path ([`hash`]), the bit that stands for a name ([`filter`]), the kernel function
//! that is called ([`kfunc`]) and what hooks must be like ([`prototype`]). It loads nothing and makes no system call.

pub mod abi;
pub mod filter;
pub mod hash;
pub mod kfunc;
pub mod prototype;

/// The programs, compiled by `build.rs`; BTF included, debug information stripped. To be loaded they
/// must be bound, see [`kfunc::bind`].
pub static OBJECT: &[u8] = &ALIGNED.0;

/// Parsers of ELF files want eight-byte alignment; `include_bytes` promises one.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

const LEN: usize = include_bytes!(concat!(env!("OUT_DIR"), "/kadapter.bpf.o")).len();

static ALIGNED: Aligned<[u8; LEN]> =
    Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kadapter.bpf.o")));
