// SPDX-License-Identifier: Apache-2.0
//! Texts that the wire permits: paths, names, arguments.

use proptest::{collection::vec, prelude::*};

use crate::{
    limits::{MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_RULE_COMPONENTS, MAX_TARGET_BYTES},
    path::RulePath,
};

/// A path of few names and few components, the root among them.
pub fn near_path() -> impl Strategy<Value = RulePath> {
    "/|(/[ab]){1,4}".prop_map(|text| path(&text))
}

/// Any path: mostly near, else of any names, seldom at a limit.
pub fn any_path() -> impl Strategy<Value = RulePath> {
    let free = vec(any_name(), 1..8).prop_map(|names| path(&format!("/{}", names.join("/"))));
    let deepest = path(&"/n".repeat(MAX_RULE_COMPONENTS));
    let longest = {
        let names = "/".to_owned() + &"n".repeat(MAX_NAME_BYTES);
        path(&names.repeat(MAX_PATH_BYTES / names.len()))
    };
    prop_oneof![8 => near_path(), 8 => free, 1 => Just(deepest), 1 => Just(longest)]
}

/// Any file name.
pub(super) fn any_name() -> impl Strategy<Value = String> {
    "[^/\0]{1,12}".prop_filter("names of the directory itself", |name| name != "." && name != "..")
}

/// A name as Kubernetes gives them, sometimes none, sometimes the longest.
pub(super) fn any_word() -> impl Strategy<Value = String> {
    let longest = "w".repeat(MAX_TARGET_BYTES);
    prop_oneof![8 => "[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", 1 => Just(String::new()), 1 => Just(longest)]
}

/// An argument of a program.
pub(super) fn any_argument() -> impl Strategy<Value = String> {
    "[^\0]{0,12}"
}

/// An argument that asks a multi-call binary for something.
pub(super) fn near_argument() -> impl Strategy<Value = String> {
    "(/b/)?-?(ls|vi|busybox|toybox|a)"
}

/// An argument of a list, which half of the near ones are.
pub(super) fn listed_argument() -> impl Strategy<Value = String> {
    "-?(ls|vi|busybox|toybox|a)"
}

/// Only for texts that are paths by construction.
fn path(text: &str) -> RulePath {
    RulePath::new(text).expect("the strategies write normal paths within the limits")
}
