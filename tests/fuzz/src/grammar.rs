// SPDX-License-Identifier: Apache-2.0
//! Inputs that are nearly right: valid ones with some changes, as a broken or hostile writer makes
//! them. What is random throughout rarely comes further than a parser's first line.

use std::cell::Cell;

use crate::entropy::Entropy;

/// Changes of one input.
const MAX_CHANGES: usize = 6;

/// Bytes of an input; more only repeat what fewer do, and cost executions.
const MAX_BYTES: usize = 16 * 1024;

/// Repetitions of one range.
const MAX_REPETITIONS: usize = 64;

thread_local! {
    static SHOWN: Cell<bool> = const { Cell::new(false) };
}

/// From now on inputs of this thread are printed.
#[cfg(not(fuzzing_libfuzzer))]
pub(crate) fn show_inputs() {
    SHOWN.set(true);
}

/// What inputs of one parser are made of.
pub(crate) struct Grammar<'a> {
    /// Valid inputs.
    pub(crate) valid: &'a [&'a [u8]],
    /// Words that mean something to the parser.
    pub(crate) words: &'a [&'a [u8]],
}

// === impl Grammar ===

impl Grammar<'_> {
    /// An input: seldom random throughout.
    pub(crate) fn write(&self, entropy: &mut Entropy<'_>) -> Vec<u8> {
        if entropy.below(16) == 15 {
            return entropy.rest().to_vec();
        }
        let mut bytes = entropy.pick(self.valid).to_vec();
        for _ in 0..entropy.below(MAX_CHANGES + 1) {
            self.change(&mut bytes, entropy);
        }
        bytes.truncate(MAX_BYTES);
        if SHOWN.get() {
            eprintln!("input: {}", bytes.escape_ascii());
        }
        bytes
    }

    fn change(&self, bytes: &mut Vec<u8>, entropy: &mut Entropy<'_>) {
        let range = entropy.range(bytes.len());
        match entropy.below(6) {
            0 => drop(bytes.drain(range)),
            1 => {
                let word = entropy.pick(self.words);
                bytes.splice(range.start..range.start, word.iter().copied());
            }
            2 => {
                let word = entropy.pick(self.words);
                bytes.splice(range, word.iter().copied());
            }
            3 => {
                if let Some(byte) = bytes.get_mut(range.start) {
                    *byte ^= entropy.byte();
                }
            }
            4 => {
                let times = 1 + entropy.below(MAX_REPETITIONS);
                let times = times.min(MAX_BYTES / range.len().max(1));
                let repeated = bytes[range.clone()].repeat(times);
                bytes.splice(range.start..range.start, repeated);
            }
            _ => {
                let other = entropy.pick(self.valid);
                let part = &other[entropy.range(other.len())];
                bytes.splice(range, part.iter().copied());
            }
        }
    }
}
