// SPDX-License-Identifier: Apache-2.0
//! S1 to S18. Those that need the target's bytes have them from outside, which no rule on the
//! target can prevent.

use super::{
    ALIASED, ALLOWED, Action, At, EMPTY, FRESH, MOUNTED, NOTHING, TARGET, Way, alone, at,
    basic::ways, bytes, exec, path,
};
use crate::world::{Content, Memory};

/// S1 to S18, in their order.
pub const SUBTLE: &[Way] = ways! {
    "S1" "map-then-protect" NOTHING => alone([Action::MapThenProtect(at(TARGET))]);
    "S2" "overlay-load" NOTHING => alone([
        Action::Overlay(at("/usr/bin"), path(EMPTY)),
        Action::Load(at("/var/attack/m/apt")),
    ]);
    "S3" "interpreter" NOTHING => alone([
        Action::Obtain(path(FRESH), Content::interpreted_by(8, path(TARGET))),
        Action::Chmod(at(FRESH)),
        exec(FRESH),
    ]);
    "S4" "shebang" NOTHING => alone([
        Action::Obtain(path(FRESH), Content::script(8, path(TARGET))),
        Action::Chmod(at(FRESH)),
        exec(FRESH),
    ]);
    "S5" "execmod" NOTHING => alone([receive(), Action::ModifyMap(bytes(), at(ALLOWED))]);
    "S6" "wx-map" NOTHING => alone([receive(), Action::WritableMap(bytes(), at(ALLOWED))]);
    "S7" "proc-mem" NOTHING => alone([receive(), Action::Inject(bytes(), Memory::OwnMemory)]);
    "S8" "ptrace" NOTHING => alone([receive(), Action::Inject(bytes(), Memory::TracedChild)]);
    "S9" "copy-protect" NOTHING => alone([
        Action::Obtain(path(FRESH), bytes()),
        Action::MapThenProtect(at(FRESH)),
    ]);
    // A shared map is opened for writing like any file.
    "S10" "shared-map-copy" NOTHING => alone([
        Action::Obtain(path(FRESH), bytes()),
        Action::Chmod(at(FRESH)),
        exec(FRESH),
    ]);
    "S11" "clone-tree" NOTHING => alone([
        Action::CloneTree(at("/usr/bin")),
        Action::Exec(in_tree()),
    ]);
    "S12" "detached-overlay" NOTHING => alone([
        Action::DetachedOverlay(at("/usr/bin")),
        Action::Exec(in_tree()),
    ]);
    "S13" "detached-load" NOTHING => alone([
        Action::DetachedOverlay(at("/usr/bin")),
        Action::Load(in_tree()),
    ]);
    // The thread that carries out a ring's operations is the subject's.
    "S14" "uring-rename" NOTHING => alone([Action::Rename(at(TARGET), path(FRESH)), exec(FRESH)]);
    "S15" "uring-link" NOTHING => alone([Action::Link(at(TARGET), path(FRESH)), exec(FRESH)]);
    "S16" "copy-up-evict" ALIASED => alone([
        Action::Chmod(at(TARGET)),
        Action::Evict,
        exec(TARGET),
    ]);
    "S17" "copy-up-mv-evict" ALIASED => alone([
        Action::Rename(at(TARGET), path(FRESH)),
        Action::Evict,
        exec(FRESH),
    ]);
    "S18" "ln-rm" NOTHING => alone([
        Action::Obtain(path(FRESH), bytes()),
        Action::Chmod(at(FRESH)),
        Action::Link(at(FRESH), path("/var/attack/y")),
        Action::Unlink(path(FRESH)),
        Action::Evict,
        exec("/var/attack/y"),
    ]);
};

fn receive() -> Action {
    Action::Receive(bytes())
}

fn in_tree() -> At {
    At::Tree(MOUNTED, path("/apt"))
}
