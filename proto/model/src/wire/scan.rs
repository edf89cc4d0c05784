// SPDX-License-Identifier: Apache-2.0
//! Counts what bytes would become, before any of it is allocated.
//!
//! Two bytes of an encoded message make an empty rule, source or name of some hundred bytes in memory,
//! and a decoder makes all of them before anything can be said about their number. Encoded messages
//! flow in, counts of their fields flow out. Copies nothing and knows no meaning.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::InvalidRuleSet;

type Result<T> = std::result::Result<T, InvalidRuleSet>;

/// Fields of a message in their order; of those that are texts, bytes or messages with the content.
#[derive(Clone, Debug)]
pub(super) struct Fields<'b>(&'b [u8]);

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'b> {
    pub(super) tag: u32,
    /// Of those that are numbers of a variable length, and the length of texts.
    pub(super) number: u64,
    /// Empty for numbers.
    pub(super) content: &'b [u8],
    /// With the key.
    pub(super) whole: &'b [u8],
}

/// Fields of a message.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

/// How many fields of this tag a message has.
///
/// # Errors
/// If there are more, or it is no message.
pub(super) fn bounded(message: &[u8], tag: u32, field: &'static str, most: usize) -> Result<()> {
    let mut got = 0;
    for found in fields(message) {
        match found {
            Ok(found) => got += usize::from(found.tag == tag),
            // Too many are too many, whatever comes behind them.
            Err(_) if got > most => break,
            Err(error) => return Err(error),
        }
    }
    super::decode::bounded(field, got, 0, most)
}

// === impl Fields ===

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.take();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'b> Fields<'b> {
    fn take(&mut self) -> Result<Field<'b>> {
        let start = self.0;
        let malformed = |error: prost::DecodeError| InvalidRuleSet::Malformed(error.to_string());
        let (tag, wire_type) = decode_key(&mut self.0).map_err(malformed)?;
        let has_number = matches!(wire_type, WireType::Varint | WireType::LengthDelimited);
        let number = if has_number { decode_varint(&mut self.0).map_err(malformed)? } else { 0 };
        let length = match wire_type {
            WireType::Varint => 0,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => number,
            // No message of ours has groups.
            WireType::StartGroup | WireType::EndGroup => {
                return Err(InvalidRuleSet::Malformed("a group".into()));
            }
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let cut = || InvalidRuleSet::Malformed("a field ends behind its message".into());
        let (content, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        let whole = start.get(..start.len() - rest.len()).unwrap_or_default();
        let is_content = wire_type == WireType::LengthDelimited;
        Ok(Field { tag, number, content: if is_content { content } else { &[] }, whole })
    }
}
