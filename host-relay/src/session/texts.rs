// SPDX-License-Identifier: Apache-2.0
//! Texts of a guest that are logged and shown: a hostile one may write as much as a message holds.
//!
//! Texts flow in, texts of a bounded length flow out. Their characters are left alone: logs and replies
//! escape them.

/// Bytes that are shown: the reasons of a guest that lacks everything have a KiB, a path has four.
const MAX_TEXT_BYTES: usize = 6 * 1024;

/// The text, or its beginning.
pub(super) fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(shown("no BPF; boot with it"), "no BPF; boot with it");
        let long = "\u{fffd}".repeat(MAX_TEXT_BYTES);
        assert_eq!(shown(&long).len(), MAX_TEXT_BYTES / 3 * 3);
    }
}
