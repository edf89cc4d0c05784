// SPDX-License-Identifier: Apache-2.0
//! Which bit of a filter stands for a name: the mirror of `lib/filter.h`.
//!
//! A name flows in, the index of its bit flows out. Not keyed: who finds names with equal bits gains
//! a walk that finds nothing.

use crate::abi::{FILTER_WORDS, Filter};

const FIRST: u64 = 0x9216_d5d9_8979_fb1b;
const SECOND: u64 = 0xb7e1_5162_8aed_2a6b;
const LEN: u64 = 0x243f_6a88_85a3_08d3;

/// Bits of a word.
const WORD: usize = 64;

const _: () = assert!(FILTER_WORDS * WORD == 1 << 20, "the index has 20 bits");

// === impl Filter ===

impl Filter {
    /// Adds a name; tells whether its bit is new.
    pub fn add(&mut self, name: &[u8]) -> bool {
        let index = index_of(name);
        let Some(word) = self.words.get_mut(index / WORD) else { return false };
        let bit = 1 << (index % WORD);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// From the length, the first eight bytes and the eight after them.
fn index_of(name: &[u8]) -> usize {
    let mut words = name
        .chunks(8)
        .map(|bytes| bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)));
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    let mixed = (first ^ (name.len() as u64).wrapping_mul(LEN)).wrapping_mul(FIRST);
    let mixed = mixed.wrapping_add(second.wrapping_mul(SECOND));
    usize::try_from(mixed >> 44).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_name_is_added_once() {
        let mut filter = Box::new(Filter { words: [0; FILTER_WORDS] });
        assert!(filter.add(b"shadow"));
        assert!(!filter.add(b"shadow"));
        assert!(filter.add(b"shadow-"));
    }

    #[test]
    fn names_that_differ_a_little_seldom_share_a_bit() {
        let names: Vec<_> = (0..10_000).map(|i| format!("libraries-{i:05}")).collect();
        let bits: HashSet<_> = names.iter().map(|name| index_of(name.as_bytes())).collect();
        assert!(bits.len() > 9_800, "{}", bits.len());
    }
}
