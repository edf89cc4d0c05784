// SPDX-License-Identifier: Apache-2.0
//! The catalogue of known ways to run a program that a rule blocks: 37 that need nothing but a
//! container, and 18 that were found when engines were tested against them.
//!
//! A [`Way`] makes the world that it needs and the steps to take in it. Whether they lead to the
//! target is for rules to decide.

mod basic;
mod subtle;

use super::{Action, At, Content, FileId, Image, MountId, Privilege, ProcessId, RootKind, World};
use crate::path::RulePath;

pub use basic::BASIC;
pub use subtle::SUBTLE;

/// The blocked program.
pub const TARGET: &str = "/usr/bin/apt";

/// A program that nobody blocks.
pub const ALLOWED: &str = "/usr/bin/true";

const SHELL: &str = "/bin/sh";
const LOADER: &str = "/lib/ld.so";
const DRIVER: &str = "/usr/bin/driver";
/// Second names of the target and a copy, in images that have them.
const ALIAS: &str = "/usr/bin/apt-alias";
const TWIN: &str = "/opt/apt-copy";
/// A fresh name in a directory on the same mount, and an empty directory.
const FRESH: &str = "/work/x";
const EMPTY: &str = "/mnt";

/// What a way needs of the image and of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The target is a script.
    pub script: bool,
    /// The image has a hard link to the target.
    pub alias: bool,
    /// The image has a copy of the target.
    pub twin: bool,
    /// The target was open before the rules were applied.
    pub opened_before: bool,
}

/// One way to run the target.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its number in the catalogue: B01 to B37, S1 to S18.
    pub id: &'static str,
    /// What it does, in a word.
    pub name: &'static str,
    /// What must be there.
    pub needs: Needs,
    steps: fn() -> Vec<(ProcessId, Action)>,
}

// === impl Way ===

impl Way {
    /// All ways.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        BASIC.iter().chain(SUBTLE)
    }

    /// What the steps run if nobody stops them.
    #[must_use]
    pub fn target(&self) -> Content {
        if self.needs.script { Content::script(1, path(SHELL)) } else { Content::program(1) }
    }

    /// The world in which the steps are taken: a process with all capabilities, and the target
    /// under the name that rules know.
    #[must_use]
    pub fn world(&self, kind: RootKind) -> World {
        let target = self.target();
        let mut image = Image::new(kind)
            .file(&path(TARGET), target.clone())
            .file(&path(ALLOWED), Content::program(2))
            .file(&path(SHELL), Content::program(3))
            .file(&path(LOADER), Content::program(4))
            .file(&path(DRIVER), Content::program(5))
            .directory(&path("/work"))
            .directory(&path(EMPTY));
        if self.needs.alias {
            image = image.hard_link(&path(TARGET), &path(ALIAS));
        }
        if self.needs.twin {
            image = image.file(&path(TWIN), target);
        }
        let privileges = [Privilege::Root, Privilege::Mount, Privilege::Chroot, Privilege::Handle];
        let (world, driver) = image.start(Some(path(DRIVER)), &privileges);
        if !self.needs.opened_before {
            return world;
        }
        let opened = world.perform(driver, &Action::Open(At::Path(path(TARGET))));
        opened.expect("the target is in the image").after
    }

    /// The steps, each by the process that takes it.
    #[must_use]
    pub fn steps(&self) -> Vec<(ProcessId, Action)> {
        (self.steps)()
    }
}

const NOTHING: Needs = Needs { script: false, alias: false, twin: false, opened_before: false };
const SCRIPT: Needs = Needs { script: true, ..NOTHING };
const ALIASED: Needs = Needs { alias: true, ..NOTHING };

/// The first process, its child, the first file that it opens, and the first mount that it makes.
const FIRST: ProcessId = ProcessId::FIRST;
const CHILD: ProcessId = ProcessId(1);
const OPENED: FileId = FileId(0);
const MOUNTED: MountId = MountId(1);

fn path(text: &str) -> RulePath {
    RulePath::new(text).expect("the catalogue writes normal paths")
}

fn at(text: &str) -> At {
    At::Path(path(text))
}

/// The target's bytes, as those ways have them that do not read the target.
fn bytes() -> Content {
    Content::program(1)
}

fn text() -> Content {
    Content::script(1, path(SHELL))
}

fn other() -> Content {
    Content::data(9)
}

/// All by the first process.
fn alone(actions: impl IntoIterator<Item = Action>) -> Vec<(ProcessId, Action)> {
    actions.into_iter().map(|action| (FIRST, action)).collect()
}

fn exec(text: &str) -> Action {
    Action::Exec(at(text))
}
