// SPDX-License-Identifier: Apache-2.0
//! Bytes of an engine as decisions. When they are used up every decision is the first choice, so
//! that shorter entropy makes simpler inputs.

/// Bytes that are not used yet.
pub(crate) struct Entropy<'a>(&'a [u8]);

// === impl Entropy ===

impl<'a> Entropy<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below the bound; zero if there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let mut value = 0;
        let mut most = bound.saturating_sub(1);
        while most > 0 {
            value = value << 8 | usize::from(self.byte());
            most >>= 8;
        }
        value.checked_rem(bound).unwrap_or_default()
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A range inside so many items, mostly a short one.
    pub(crate) fn range(&mut self, items: usize) -> std::ops::Range<usize> {
        let start = self.below(items + 1);
        let longest = 1 << self.below(10);
        start..items.min(start + self.below(longest + 1))
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
