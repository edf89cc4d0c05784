// SPDX-License-Identifier: Apache-2.0
//! What somebody tries to do, as far as rules can see it.

use crate::{
    object::{Content, Directory},
    path::RulePath,
    rule::{Category, Source},
};

/// One access to a file or program.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Kind of access; a process access executes the object.
    pub category: Category,
    /// Name used at this access; none for an object without one (memfd, deleted files).
    pub path: Option<&'a RulePath>,
    /// Names under which the object's inode was found when the rules were applied.
    pub identities: &'a [RulePath],
    /// Directories of rules in which the object's inode was found as a program then.
    pub programs: &'a [Directory],
    /// Contents that the object's inode had when the rules were applied.
    pub contents: &'a [Content],
    /// Arguments of the program that is executed; none if they cannot be read.
    pub argv: Option<&'a [String]>,
    /// The acting executable; for an exec the one before it. None if it has no name.
    pub exe: Option<&'a RulePath>,
    /// Sources that the inode of the acting executable was found as when the rules were applied.
    pub acts_as: &'a [Source],
}
