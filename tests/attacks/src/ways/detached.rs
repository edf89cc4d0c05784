// SPDX-License-Identifier: Apache-2.0
//! Ways through mounts that have no place in any tree.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use super::loaded::load;
use super::mounts::layers;
use crate::scene::Scene;
use crate::steps::{Gone, become_able_to_mount, run_at};
use crate::trace::{Cause, Trace};

pub(super) fn bind(scene: &Scene, trace: &Trace) -> Gone {
    become_able_to_mount(trace)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree =
        trace.step("open_tree (clone)", || open_tree(CWD, scene.target_directory(), flags))?;
    run_at(trace, &tree, &scene.target_name())
}

pub(super) fn overlay(scene: &Scene, trace: &Trace) -> Gone {
    let mount = detached(scene, trace, FsMountFlags::FSMOUNT_CLOEXEC)?;
    run_at(trace, &mount, &scene.target_name())
}

pub(super) fn overlay_by_loader(scene: &Scene, trace: &Trace) -> Gone {
    // The loader goes through the descriptor.
    let mount = detached(scene, trace, FsMountFlags::empty())?;
    let directory = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let target = Path::new(&directory).join(scene.target_name());
    load(scene, trace, &target)
}

fn detached(scene: &Scene, trace: &Trace, flags: FsMountFlags) -> Result<OwnedFd, Cause> {
    let layers = layers(scene, trace)?;
    become_able_to_mount(trace)?;
    let context =
        trace.step("fsopen (overlay)", || fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC))?;
    trace.step("fsconfig (lowerdir)", || fsconfig_set_string(&context, "lowerdir", &layers[..]))?;
    trace.step("fsconfig (create)", || fsconfig_create(&context))?;
    trace.step("fsmount", || fsmount(&context, flags, MountAttrFlags::empty()))
}
