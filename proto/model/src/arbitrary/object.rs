// SPDX-License-Identifier: Apache-2.0
//! Objects, by the category that may have them.

use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

use super::text::{any_name, any_path, near_path};
use crate::{
    object::{Content, Directory, Match, Object, PathObject},
    path::RulePath,
    rule::Category,
};

/// Any object of this category.
pub fn any_object(category: Category) -> BoxedStrategy<Object> {
    match category {
        Category::Process => {
            prop_oneof![file_object(), any_name().prop_map(Object::ExecName), any_applet()].boxed()
        }
        Category::File => prop_oneof![file_object(), any_path().prop_map(Object::Link)].boxed(),
        Category::Network => any::<[u32; 3]>()
            .prop_map(|[family, kind, protocol]| Object::Socket { family, kind, protocol })
            .boxed(),
        Category::Dns => ("[a-z0-9_-]{1,9}(\\.[a-z0-9_-]{1,9}){0,3}", any::<bool>())
            .prop_map(|(name, subdomains)| Object::Dns { name, subdomains })
            .boxed(),
        Category::Capability => {
            "(chown|net_raw|sys_(admin|ptrace|chroot))".prop_map(Object::Capability).boxed()
        }
        Category::Syscall => (btree_set(0..512_u32, 1..6), option::of(any_path()))
            .prop_map(|(numbers, path)| Object::Syscall {
                numbers: numbers.into_iter().collect(),
                path,
            })
            .boxed(),
    }
}

/// Any path, by name or by identity.
pub fn any_path_object() -> impl Strategy<Value = PathObject> {
    path_object_of(any_path())
}

/// Any directory.
pub fn any_directory() -> impl Strategy<Value = Directory> {
    (any_path(), any::<bool>(), any::<bool>())
        .prop_map(|(path, recursive, atomic_volume)| Directory { path, recursive, atomic_volume })
}

/// A directory on a near path, as the evaluator judges it.
pub(super) fn near_directory() -> impl Strategy<Value = Directory> {
    (near_path(), any::<bool>()).prop_map(|(path, recursive)| Directory {
        path,
        recursive,
        atomic_volume: false,
    })
}

/// An object that the evaluator judges, on a near path.
pub(super) fn supported_object() -> impl Strategy<Value = Object> {
    prop_oneof![
        path_object_of(near_path()).prop_map(Object::Path),
        near_directory().prop_map(Object::Directory),
        near_content().prop_map(|Content { sha256, size }| Object::Content { sha256, size }),
        near_applet(),
    ]
}

/// Applets of a near path.
fn near_applet() -> impl Strategy<Value = Object> {
    let names = btree_set(select(vec!["ls".to_owned(), "vi".to_owned()]), 1..3);
    (near_path(), names)
        .prop_map(|(binary, names)| Object::Applet { binary, names: names.into_iter().collect() })
}

/// One of two contents.
pub(super) fn near_content() -> impl Strategy<Value = Content> {
    select(vec![1, 2]).prop_map(|byte| Content { sha256: [byte; 32], size: 7 })
}

fn path_object_of(paths: impl Strategy<Value = RulePath>) -> impl Strategy<Value = PathObject> {
    (paths, select(vec![Match::Name, Match::Identity]))
        .prop_map(|(path, matching)| PathObject { path, matching })
}

/// What rules on programs and rules on files have in common.
fn file_object() -> impl Strategy<Value = Object> {
    prop_oneof![
        any_path_object().prop_map(Object::Path),
        any_directory().prop_map(Object::Directory),
        vec(any::<u8>(), 1..48).prop_map(Object::Automaton),
        (any::<[u8; 32]>(), any::<u64>())
            .prop_map(|(sha256, size)| Object::Content { sha256, size }),
    ]
}

fn any_applet() -> impl Strategy<Value = Object> {
    (any_path(), btree_set(any_name(), 1..5))
        .prop_map(|(binary, names)| Object::Applet { binary, names: names.into_iter().collect() })
}
