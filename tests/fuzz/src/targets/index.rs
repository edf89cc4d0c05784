// SPDX-License-Identifier: Apache-2.0
//! What a relay asks about files, and what it is told of a tree that is full of links.

use std::{collections::BTreeSet, fs::File, sync::LazyLock};

use guest_agent::{
    files::{MAX_NAMES, PROGRAM_DIRECTORIES, Query},
    server::Question,
};
use kadapter_proto::guest::v1::IndexRequest;
use prost::Message as _;

use super::slices;
use crate::{entropy::Entropy, grammar::Grammar};

/// It is there on every machine, and its links lead everywhere: to other processes' roots, to
/// files that are open, to what has no name.
const TREE: &str = "/proc";

/// Answers that are looked at: of thousands, the rest are no different.
const MAX_ANSWERS: usize = 32;

/// Of a file's mode, what kind it is, and the kind of links.
const TYPE: u32 = 0o170_000;
const LINK: u32 = 0o120_000;

static VALID: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let request = |names: &[&str]| {
        let names = names.iter().map(ToString::to_string).collect();
        IndexRequest { container_id: "c1".into(), names }.encode_to_vec()
    };
    vec![
        request(&["/self/exe", "/1/root/etc/passwd", "/mounts"]),
        request(&["/self", "/sys/kernel/", "/sys/kernel/ostype", "/version"]),
        request(&["apt", "sh"]),
        request(&["/"]),
        request(&[]),
    ]
});

const WORDS: &[&[u8]] = &[
    b"/",
    b"//",
    b"/..",
    b"..",
    b".",
    b"/self",
    b"/thread-self",
    b"/root",
    b"/cwd",
    b"/fd/0",
    b"/ns/mnt",
    b"/net",
    b"\x00",
    b"\x12\x00",
    b"\x12\x01/",
    b"\x0a\x02..",
    b"\xff",
    b"\xff\xff\xff\xff\x0f",
];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let bytes = Grammar { valid: &slices(&VALID), words: WORDS }.write(&mut entropy);
    let Ok(request) = IndexRequest::decode(&bytes[..]) else { return };
    let names = request.names.clone();
    let Ok(Question { id, paths }) = Question::try_from(request) else { return };
    assert!(!id.as_str().contains('/') && names.len() <= MAX_NAMES);
    let tree = File::open(TREE).expect("every process has it");
    let mut links = BTreeSet::new();
    for entry in Query::new(&tree, paths).take(MAX_ANSWERS).flatten() {
        assert!(
            names.iter().any(|name| is_on_the_way(&entry.path, name)),
            "nobody asked: {entry:?}"
        );
        assert_eq!(entry.link.is_some(), entry.mode & TYPE == LINK, "{entry:?}");
        assert!(entry.link.is_none() || links.insert(entry.path), "a link is said twice");
    }
}

/// Whether somebody who looks for a name comes by this path.
fn is_on_the_way(path: &str, name: &str) -> bool {
    let is_beginning_of = |whole: &str| {
        let (mut path, mut whole) = (components(path), components(whole));
        path.all(|part| whole.next() == Some(part))
    };
    if name.contains('/') {
        is_beginning_of(name)
    } else {
        PROGRAM_DIRECTORIES.iter().any(|place| is_beginning_of(&format!("{place}/{name}")))
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}
