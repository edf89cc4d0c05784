// SPDX-License-Identifier: Apache-2.0
//! Frames of the lifecycle socket, as the agent reads requests and the hook reads answers.

use guest_agent::{
    containers::Role,
    lifecycle::{
        Call, MAX_FRAME_BYTES, Reply, Request, Step, VERSION, body_length, decode_reply,
        decode_request, encode,
    },
};

use crate::{entropy::Entropy, grammar::Grammar};

const VALID: &[&[u8]] = &[
    br#"{"version":1,"event":"create","container":{"id":"c1","sandbox_id":"s1","pid":42,"pid_ns":4026531836,"mnt_ns":4026531841,"cgroup":"/kubepods/c1","annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"web","io.kubernetes.cri.sandbox-name":"shop-0","io.kubernetes.cri.sandbox-namespace":"prod","io.kubernetes.cri.sandbox-uid":"u-1"},"rootfs":"/run/c1/rootfs"}}"#,
    br#"{"version":1,"event":"create","container":{"id":"c2","pid":7,"annotations":{"io.kubernetes.cri-o.ContainerType":"sandbox","io.kubernetes.cri-o.KubeName":"shop-0","io.kubernetes.cri-o.Namespace":"prod"}}}"#,
    br#"{"version":1,"event":"exec","container":{"id":"c1","pid":43}}"#,
    br#"{"version":1,"event":"start","container":{"id":"c1"}}"#,
    br#"{"version":1,"event":"remove","container":{"id":"c1"}}"#,
    br#"{"version":1,"answer":{"proceed":{"generation":7,"digest":"ab"}}}"#,
    br#"{"version":1,"answer":{"refuse":{"reason":"no rule set"}}}"#,
];

/// Words of the messages, and what JSON has at its edges.
pub(super) const WORDS: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"0",
    b"1",
    b"-1",
    b"4294967296",
    b"18446744073709551616",
    b"1e999",
    b"0.1",
    b"\"pid\":1,",
    b"\"pid\":2147483648,",
    b"\"id\":\"..\",",
    b"\"id\":\"a/b\",",
    b"\"rootfs\":\"a\",",
    b"\"rootfs\":\"/a/../b\",",
    b"\"exit\"",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b"\xc3",
    b"\xff",
    b"/",
    b"..",
    b" ",
    b"\n",
];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let prefix: [u8; 4] = std::array::from_fn(|_| entropy.byte());
    let announced = u32::from_be_bytes(prefix) as usize;
    // What is refused here is refused before there is room for it.
    assert_eq!(body_length(prefix).ok(), Some(announced).filter(|it| *it <= MAX_FRAME_BYTES));
    let body = Grammar { valid: VALID, words: WORDS }.write(&mut entropy);
    if let Ok(call) = decode_request(&body) {
        check_call(&body, &call);
    }
    if let Ok(answer) = decode_reply(&body) {
        let frame = encode(&Reply { version: VERSION, answer: answer.clone() });
        let frame = frame.expect("an answer in a frame is short enough for one");
        assert_eq!(decode_reply(&frame[4..]).expect("it was encoded here"), answer);
    }
}

fn check_call(body: &[u8], call: &Call) {
    assert!(!call.id.as_str().contains(['/', '\0']) && !call.id.as_str().starts_with('.'));
    match &call.step {
        Step::Create { process, annotations, .. } => {
            assert!((2..=i32::MAX.unsigned_abs()).contains(&process.pid));
            let _ = Role::of(annotations);
        }
        Step::Exec(process) => assert!((2..=i32::MAX.unsigned_abs()).contains(&process.pid)),
        Step::Start | Step::Exit | Step::Remove | Step::Ready => {}
    }
    let request: Request = serde_json::from_slice(body).expect("it was decoded before");
    let frame = encode(&request).expect("a request in a frame is short enough for one");
    assert_eq!(&decode_request(&frame[4..]).expect("it was encoded here"), call);
}
