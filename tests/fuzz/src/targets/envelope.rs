// SPDX-License-Identifier: Apache-2.0
//! An envelope as the agent puts it together of chunks and takes it.

use std::sync::LazyLock;

use guest_agent::{apply, server::append_chunk};
use kadapter_proto::guest::v1 as pb;
use policy_model::{Digest, wire};
use prost::Message as _;

use super::{slices, supported_rule_sets, wire::WORDS};
use crate::{entropy::Entropy, grammar::Grammar};

static VALID: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let signature = pb::Signature { key_id: "k".into(), signature: vec![7; 64] };
    let envelope = |payload| pb::Envelope { payload, signatures: vec![signature.clone()] };
    supported_rule_sets().iter().map(|set| envelope(wire::encode(set)).encode_to_vec()).collect()
});

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let sent = Grammar { valid: &slices(&VALID), words: WORDS }.write(&mut entropy);
    let mut envelope = Vec::new();
    let mut rest = sent.as_slice();
    while !rest.is_empty() {
        // Without entropy the rest is one chunk; chunks may be empty.
        let length = rest.len() - entropy.below(rest.len() + 1);
        let (data, left) = rest.split_at(length);
        let appended = append_chunk(&mut envelope, pb::Chunk { data: data.to_vec() });
        appended.expect("these inputs are below the limit");
        rest = if length == 0 && entropy.below(2) == 0 { &[] } else { left };
    }
    assert!(sent.starts_with(&envelope), "chunks are neither lost nor moved");
    if let Ok(accepted) = apply::accept(&envelope) {
        let message = pb::Envelope::decode(&envelope[..]).expect("it was accepted");
        assert_eq!(accepted.digest, Digest::of(&message.payload));
        assert_eq!(wire::encode(&accepted.rules), message.payload);
    }
}
