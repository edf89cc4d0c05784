// SPDX-License-Identifier: Apache-2.0
//! Ways through mounts, another root, or other namespaces.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use nix::unistd::chroot as enter_root;
use rustix::mount::{MountFlags, mount, mount_bind};

use crate::scene::Scene;
use crate::steps::{self, Gone, become_able_to_mount, enter, mkdir, run, spawn};
use crate::trace::{Cause, Trace};
use crate::undo::Undo;

pub(super) fn bind_file(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    trace.step("create x", || File::create_new(&x))?;
    bind(trace, scene.target(), &x)?;
    run(trace, &x)
}

pub(super) fn bind_directory(scene: &Scene, trace: &Trace) -> Gone {
    let directory = bound(scene, trace)?;
    run(trace, &directory.join(scene.target_name()))
}

pub(super) fn rename_in_bind(scene: &Scene, trace: &Trace) -> Gone {
    let directory = bound(scene, trace)?;
    let y = directory.join("y");
    steps::rename(trace, &directory.join(scene.target_name()), &y)?;
    run(trace, &y)
}

pub(super) fn link_in_bind(scene: &Scene, trace: &Trace) -> Gone {
    let directory = bound(scene, trace)?;
    let y = directory.join("y");
    trace.step("link", || fs::hard_link(directory.join(scene.target_name()), &y))?;
    trace.undo(Undo::Remove(y.clone()));
    run(trace, &y)
}

pub(super) fn copy_from_bind(scene: &Scene, trace: &Trace) -> Gone {
    let directory = bound(scene, trace)?;
    let x = scene.fresh("x");
    steps::copy(trace, &directory.join(scene.target_name()), &x)?;
    run(trace, &x)
}

pub(super) fn overlay(scene: &Scene, trace: &Trace) -> Gone {
    let directory = overlaid(scene, trace)?;
    run(trace, &directory.join(scene.target_name()))
}

pub(super) fn chroot(scene: &Scene, trace: &Trace) -> Gone {
    trace.step("chroot", || enter_root(scene.above_target()))?;
    let below = scene.target().strip_prefix(scene.above_target());
    let below = below.expect("T is below the directory above it");
    run(trace, &Path::new("/").join(below))
}

pub(super) fn unshare_mounts(scene: &Scene, trace: &Trace) -> Gone {
    enter(trace, CloneFlags::CLONE_NEWNS)?;
    run(trace, scene.target())
}

pub(super) fn unshare_pids(scene: &Scene, trace: &Trace) -> Gone {
    enter(trace, CloneFlags::CLONE_NEWPID)?;
    spawn(trace, scene.target())
}

/// The directory of T, bound on an empty one.
fn bound(scene: &Scene, trace: &Trace) -> Result<PathBuf, Cause> {
    let directory = mkdir(trace, scene, "m")?;
    bind(trace, scene.target_directory(), &directory)?;
    Ok(directory)
}

fn bind(trace: &Trace, from: &Path, to: &Path) -> Gone {
    let own = become_able_to_mount(trace)?;
    trace.step("mount (bind)", || mount_bind(from, to))?;
    mounted(trace, to, own);
    Ok(())
}

/// An overlay on an empty directory, that of T its upper one below.
pub(super) fn overlaid(scene: &Scene, trace: &Trace) -> Result<PathBuf, Cause> {
    let (directory, options) = (mkdir(trace, scene, "m")?, layers(scene, trace)?);
    let own = become_able_to_mount(trace)?;
    let options = std::ffi::CString::new(format!("lowerdir={options}"));
    let options = options.map_err(|error| Cause::Other(error.to_string()))?;
    trace.step("mount (overlay)", || {
        mount("overlay", &directory, "overlay", MountFlags::empty(), options.as_c_str())
    })?;
    mounted(trace, &directory, own);
    Ok(directory)
}

/// The layers of an overlay that shows the directory of T: it wants two.
pub(super) fn layers(scene: &Scene, trace: &Trace) -> Result<String, Cause> {
    let below = mkdir(trace, scene, "below")?;
    Ok(format!("{}:{}", scene.target_directory().display(), below.display()))
}

/// What only this process sees ends with it.
fn mounted(trace: &Trace, at: &Path, own: bool) {
    if !own {
        trace.undo(Undo::Unmount(at.into()));
    }
}
