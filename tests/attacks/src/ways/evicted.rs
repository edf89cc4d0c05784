// SPDX-License-Identifier: Apache-2.0
//! Ways that count on a mark being lost with an inode of which the kernel forgets that it had one.
//! Between the phases the runner lets the kernel forget; so the first ones hold nothing open.

use std::fs;

use super::copies::foreign_copy;
use crate::scene::Scene;
use crate::steps::{self, Gone, run};
use crate::trace::Trace;

/// On an overlay the change makes a new inode, which later is found under another number.
pub(super) fn chmod(scene: &mut Scene, trace: &Trace) -> Gone {
    steps::chmod(trace, scene.target(), 0o711)
}

pub(super) fn run_target(scene: &Scene, trace: &Trace) -> Gone {
    run(trace, scene.target())
}

pub(super) fn rename(scene: &mut Scene, trace: &Trace) -> Gone {
    steps::rename(trace, scene.target(), &scene.fresh("x"))
}

pub(super) fn run_moved(scene: &Scene, trace: &Trace) -> Gone {
    run(trace, &scene.fresh("x"))
}

/// The inode that was written has no name any more, another name has its content.
pub(super) fn relink(scene: &mut Scene, trace: &Trace) -> Gone {
    let x = foreign_copy(scene, trace)?;
    trace.step("link", || fs::hard_link(&x, scene.fresh("y")))?;
    trace.step("unlink", || fs::remove_file(&x))
}

pub(super) fn run_relinked(scene: &Scene, trace: &Trace) -> Gone {
    run(trace, &scene.fresh("y"))
}
