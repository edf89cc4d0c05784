// SPDX-License-Identifier: Apache-2.0
//! What a runtime gives to the hook: the state on standard input, and a bundle's config.json.

use std::path::Path;

use guest_agent::{
    hook::state::{ANNOTATIONS, OciState, root_path},
    lifecycle::{Event, Request, VERSION, decode_request, encode},
};

use super::lifecycle::WORDS;
use crate::{entropy::Entropy, grammar::Grammar};

const VALID: &[&[u8]] = &[
    br#"{"ociVersion":"1.0.2","id":"c1","status":"created","pid":42,"bundle":"/run/c1","annotations":{"io.kubernetes.cri.container-name":"web","io.kubernetes.cri.sandbox-id":"s1","example.com/other":"x"}}"#,
    br#"{"ociVersion":"1.2.0","id":"c1","status":"stopped","bundle":"/run/c1"}"#,
    br#"{"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":true},"process":{"args":["sh"],"env":["A=b"]},"linux":{"namespaces":[{"type":"pid"}]}}"#,
    br#"{"root":{"path":"/run/kata-containers/c1/rootfs"}}"#,
];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let text = Grammar { valid: VALID, words: WORDS }.write(&mut entropy);
    if let Ok(state) = OciState::read(&text[..]) {
        assert!(state.pid().is_ok_and(|pid| pid > 1) || state.pid().is_err());
        let facts = state.removed();
        assert!(facts.annotations.keys().all(|key| ANNOTATIONS.contains(&key.as_str())));
        let request = Request { version: VERSION, event: Event::Remove, container: facts };
        if let Ok(frame) = encode(&request)
            && let Ok(call) = decode_request(&frame[4..])
        {
            assert_eq!(call.id.as_str(), request.container.id);
        }
    }
    let bundle = Path::new("/run/c1");
    if let Ok(root) = root_path(bundle, "config.json", &text[..]) {
        assert!(root.is_absolute());
    }
}
