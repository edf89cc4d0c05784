// SPDX-License-Identifier: Apache-2.0
//! Frames and messages of the lifecycle protocol; no bytes make it panic.

use proptest::prelude::*;

use super::*;

fn create() -> Request {
    Request {
        version: VERSION,
        event: Event::Create,
        container: Facts {
            id: "c1".into(),
            pid: Some(42),
            rootfs: Some("/run/c1/rootfs".into()),
            ..Facts::default()
        },
    }
}

fn decoded(request: &Request) -> Result<Call, InvalidFrame> {
    let frame = encode(request).unwrap();
    let (prefix, body) = frame.split_at(4);
    assert_eq!(body_length(prefix.try_into().unwrap()).unwrap(), body.len());
    decode_request(body)
}

#[test]
fn a_create_says_which_process_waits_and_where_its_root_is() {
    let call = decoded(&create()).unwrap();
    let Step::Create { process, rootfs, .. } = call.step else { panic!("{call:?}") };
    assert_eq!((call.id.as_str(), process.pid), ("c1", 42));
    assert_eq!(rootfs.unwrap().as_str(), "/run/c1/rootfs");
}

#[test]
fn a_remove_needs_no_process() {
    let facts = Facts { id: "c1".into(), ..Facts::default() };
    let request = Request { event: Event::Remove, container: facts, ..create() };
    assert_eq!(decoded(&request).unwrap().step, Step::Remove);
}

#[test]
fn what_cannot_be_acted_on_is_refused_by_name() {
    let with = |change: fn(&mut Request)| {
        let mut request = create();
        change(&mut request);
        decoded(&request).unwrap_err().to_string()
    };
    assert!(with(|r| r.version = 2).contains("version 2"));
    assert!(with(|r| r.container.id = "../x".into()).contains("container.id"));
    assert!(with(|r| r.container.pid = None).contains("container.pid"));
    assert!(with(|r| r.container.pid = Some(1)).contains("container.pid"));
    assert!(with(|r| r.container.rootfs = Some("run".into())).contains("container.rootfs"));
}

#[test]
fn unknown_fields_are_refused() {
    let body = br#"{"version":1,"event":"remove","container":{"id":"c1","force":true}}"#;
    assert!(decode_request(body).unwrap_err().to_string().contains("force"));
}

#[test]
fn frames_are_bounded() {
    let length = u32::try_from(MAX_FRAME_BYTES).unwrap();
    assert!(body_length(length.to_be_bytes()).is_ok());
    for length in [length + 1, u32::MAX] {
        assert!(matches!(body_length(length.to_be_bytes()), Err(InvalidFrame::TooLong(_))));
    }
    let mut request = create();
    request.container.annotations.insert("a".into(), "x".repeat(MAX_FRAME_BYTES));
    assert!(matches!(encode(&request), Err(InvalidFrame::TooLong(_))));
}

#[test]
fn answers_survive_the_wire() {
    for answer in [
        Answer::Proceed { generation: 7, digest: "ab".into() },
        Answer::Refuse { reason: "no rule set".into() },
    ] {
        let frame = encode(&Reply { version: VERSION, answer: answer.clone() }).unwrap();
        assert_eq!(decode_reply(&frame[4..]).unwrap(), answer);
    }
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode_request(&bytes);
        let _ = decode_reply(&bytes);
    }

    #[test]
    fn damaged_requests_never_panic(at in 0usize..200, byte in any::<u8>()) {
        let mut body = serde_json::to_vec(&create()).unwrap();
        let at = at % body.len();
        body[at] = byte;
        let _ = decode_request(&body);
    }
}
