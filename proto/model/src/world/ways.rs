// SPDX-License-Identifier: Apache-2.0
//! The catalogue of known ways to run a program that a rule blocks: 37 that need nothing but a
//! container, and 18 that were found when engines were tested against them.
//!
//! A [`Way`] makes the world that it needs and the steps to take in it. Whether they lead to the
//! target is for rules to decide.

mod basic;
mod code;
mod subtle;

use super::{Action, At, Content, FileId, Image, MountId, Privilege, ProcessId, RootKind, World};
use crate::path::RulePath;

pub use basic::BASIC;
pub use code::CODE;
pub use subtle::SUBTLE;

/// The blocked program.
pub const TARGET: &str = "/usr/bin/apt";

/// The blocked script.
pub const SCRIPT: &str = "/usr/bin/apt-script";

/// The program that takes the steps.
pub const DRIVER: &str = "/attack";

/// A program that nobody blocks, and one that is overwritten.
const ALLOWED: &str = "/usr/bin/allowed";
const VICTIM: &str = "/usr/bin/overwritten";

const SHELL: &str = "/bin/busybox";
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// Second name of the target, and a copy, in images that have them.
const ALIAS: &str = "/usr/bin/apt-alias";
const TWIN: &str = "/opt/vendor/apt";
/// A fresh name in a directory on the same mount, and an empty directory there.
const FRESH: &str = "/var/attack/x";
const EMPTY: &str = "/var/attack/m";

/// Links to the shell, which is all of these.
const APPLETS: &[&str] = &["cat", "cp", "ls", "sh", "sleep", "stat", "tar", "true"];

/// What a way needs of the image and of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The target is the script.
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

/// The image that ways are gone in: the targets, programs of which no rule speaks, a shell, a loader
/// and the driver.
#[must_use]
pub fn image(kind: RootKind, needs: Needs) -> Image {
    let mut image = Image::new(kind)
        .file(&path(TARGET), bytes())
        .file(&path(SCRIPT), text())
        .file(&path(ALLOWED), Content::program(2))
        .file(&path(VICTIM), Content::program(2))
        .file(&path(SHELL), Content::program(3))
        .file(&path(LOADER), Content::program(4))
        .file(&path(DRIVER), Content::program(5))
        .file(&path("/etc/passwd"), Content::data(6))
        .public_directory(&path("/tmp"))
        .public_directory(&path("/var/attack"))
        .directory(&path(EMPTY))
        .directory(&path("/root"))
        .directory(&path("/run"))
        .directory(&path("/usr/sbin"))
        .directory(&path("/var/log"));
    for applet in APPLETS {
        image = image.symbolic_link(&path(SHELL), &path(&format!("/bin/{applet}")));
    }
    if needs.alias {
        image = image.hard_link(&path(TARGET), &path(ALIAS));
    }
    if needs.twin {
        image = image.file(&path(TWIN), bytes());
    }
    image
}

// === impl Way ===

impl Way {
    /// The one of this number, also of [`CODE`].
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        Self::all().chain(CODE).find(|way| way.id == id)
    }

    /// All ways around a rule on a program.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        BASIC.iter().chain(SUBTLE)
    }

    /// The program that it runs.
    #[must_use]
    pub fn target(&self) -> Content {
        if self.needs.script { text() } else { bytes() }
    }

    /// The world in which the steps are taken: the driver with all capabilities, and the target
    /// under the name that rules know.
    #[must_use]
    pub fn world(&self, kind: RootKind) -> World {
        let privileges = [Privilege::Root, Privilege::Mount, Privilege::Chroot, Privilege::Handle];
        let (world, driver) = image(kind, self.needs).start(Some(path(DRIVER)), &privileges);
        if !self.needs.opened_before {
            return world;
        }
        let opened = world.perform(driver, &Action::Open(At::Path(path(TARGET))));
        opened.expect("the target is in the image").after
    }

    /// The steps, each by the process that takes it: the world's first one, or the child that it
    /// makes.
    #[must_use]
    pub fn steps(&self) -> Vec<(ProcessId, Action)> {
        (self.steps)()
    }

    /// The steps in another world, by a process that has no open file.
    #[must_use]
    pub fn steps_in(&self, world: &World, first: ProcessId) -> Vec<(ProcessId, Action)> {
        let child = ProcessId(world.newest_process().0 + 1);
        let mount = MountId(world.newest_mount().0 + 1);
        let who = |process| if process == FIRST { first } else { child };
        let moved = |action| match action {
            Action::Send(to, content) => Action::Send(who(to), content),
            Action::Exec(At::Tree(_, path)) => Action::Exec(At::Tree(mount, path)),
            Action::Load(At::Tree(_, path)) => Action::Load(At::Tree(mount, path)),
            other => other,
        };
        self.steps().into_iter().map(|(by, action)| (who(by), moved(action))).collect()
    }
}

const NOTHING: Needs = Needs { script: false, alias: false, twin: false, opened_before: false };
const SCRIPTED: Needs = Needs { script: true, ..NOTHING };
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

/// What the target holds.
fn bytes() -> Content {
    Content::program(1)
}

/// What the script holds.
fn text() -> Content {
    Content::script(7, path(SHELL))
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
