// SPDX-License-Identifier: Apache-2.0
//! One view of a container's mounts, by point and by what is mounted there.
//!
//! Mounts flow in; the mount that is seen at a path, and the names of a place, flow out. A container
//! makes as many mounts as it may, and a set asks for as many places as it has rules: so each question
//! takes the steps of a path, not a pass over all mounts.

use std::{borrow::Cow, collections::HashMap};

use super::places::parent_of;
use crate::containers::Mount;

/// Mounts in an order in which a later one hides what is at or below its point.
#[derive(Debug)]
pub(super) struct View<'a> {
    mounts: &'a [Mount],
    /// The last one at a point.
    at_point: HashMap<&'a str, usize>,
    /// Of a super block, those of one directory.
    of_root: HashMap<(u32, &'a str), Vec<usize>>,
}

// === impl View ===

impl<'a> View<'a> {
    pub(super) fn new(mounts: &'a [Mount]) -> Self {
        let mut view = Self { mounts, at_point: HashMap::new(), of_root: HashMap::new() };
        for (at, mount) in mounts.iter().enumerate() {
            view.at_point.insert(mount.point.as_str(), at);
            if let Some(root) = &mount.root {
                view.of_root.entry((mount.dev, root.as_str())).or_default().push(at);
            }
        }
        view
    }

    /// The mount that is seen at this path: of those at or above it the last one made.
    pub(super) fn mount_of(&self, path: &str) -> Option<&'a Mount> {
        self.mounts.get(self.seen_at(path)?)
    }

    fn seen_at(&self, path: &str) -> Option<usize> {
        ways(path).filter_map(|above| self.at_point.get(above)).max().copied()
    }

    /// How the container names a path of a super block.
    pub(super) fn names_of<'s>(
        &'s self,
        dev: u32,
        path: &'s str,
    ) -> impl Iterator<Item = String> + use<'s, 'a> {
        let holders = ways(path).filter_map(move |root| self.of_root.get(&(dev, root)));
        holders.flatten().filter_map(move |at| {
            let mount = self.mounts.get(*at)?;
            let name = moved(path, mount.root.as_deref()?, mount.point.as_str())?;
            (self.seen_at(&name)? == *at).then(|| name.into_owned())
        })
    }
}

/// A path and all directories above it, up to the root.
fn ways(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| parent_of(path))
}

/// A path below one directory as the same path below another; none if it is not below the first.
pub(super) fn moved<'p>(path: &'p str, from: &str, to: &str) -> Option<Cow<'p, str>> {
    let rest = below(path, from)?;
    Some(match (to, rest) {
        _ if from == to => path.into(),
        (to, "") => to.to_owned().into(),
        ("/", rest) => format!("/{rest}").into(),
        (to, rest) => format!("{to}/{rest}").into(),
    })
}

/// The boundary comes first: it tells most paths apart without a comparison.
fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    if directory == "/" {
        return path.strip_prefix('/');
    }
    let (head, rest) = path.split_at_checked(directory.len())?;
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
    (head == directory).then_some(rest)
}

#[cfg(test)]
mod tests {
    use policy_model::RulePath;
    use proptest::prelude::*;

    use super::*;

    fn mount((dev, root, point): &(u32, String, String)) -> Mount {
        let point = RulePath::new(point.as_str()).unwrap();
        Mount { dev: *dev, root: Some(root.clone()), point, fs_type: "o".into(), atomic: false }
    }

    /// Each question over all mounts, as it reads.
    fn names_one_by_one(mounts: &[Mount], dev: u32, path: &str) -> Vec<String> {
        let seen = |path: &str| {
            mounts.iter().rev().find(|mount| below(path, mount.point.as_str()).is_some())
        };
        let of_dev = mounts.iter().filter(|mount| mount.dev == dev);
        let mut names: Vec<_> = of_dev
            .filter_map(|mount| {
                let name = moved(path, mount.root.as_deref()?, mount.point.as_str())?;
                std::ptr::eq(seen(&name)?, mount).then(|| name.into_owned())
            })
            .collect();
        names.sort();
        names
    }

    proptest! {
        #[test]
        fn the_names_of_a_place_are_those_that_all_mounts_give_one_by_one(
            made in proptest::collection::vec((0u32..3, "/|(/[ab]){1,3}", "/|(/[ab]){1,3}"), 0..12),
            (dev, path) in (0u32..3, "/|(/[ab]){1,4}"),
        ) {
            let root = (0, "/".to_owned(), "/".to_owned());
            let mounts: Vec<_> = [root].iter().chain(&made).map(mount).collect();
            let view = View::new(&mounts);
            let mut names: Vec<_> = view.names_of(dev, &path).collect();
            names.sort();
            prop_assert_eq!(names, names_one_by_one(&mounts, dev, &path));
            let last = mounts.iter().rev().find(|it| below(&path, it.point.as_str()).is_some());
            prop_assert_eq!(view.mount_of(&path), last);
        }
    }
}
