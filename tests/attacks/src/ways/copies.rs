// SPDX-License-Identifier: Apache-2.0
//! Ways to an equal file: copies by whatever call, copies of the image, bytes from elsewhere.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{
    AtFlags, CWD, MemfdFlags, Mode, OFlags, copy_file_range, linkat, memfd_create, sendfile,
};

use crate::elf;
use crate::memory::Map;
use crate::scene::Scene;
use crate::steps::{
    self, Gone, create, finish, mkdir, open, read, run, run_at, spawn, tool, write,
};
use crate::trace::{Cause, Trace};
use crate::undo::Undo;

/// More than any target has.
const MOST: usize = 1 << 20;

type Copy = fn(&Trace, &Path, &Path) -> Gone;

/// One copy after the other, each run; the first that is refused is what is told, if none runs.
pub(super) fn each_call(scene: &Scene, trace: &Trace) -> Gone {
    let copies: [(&str, Copy); 3] =
        [("read", steps::copy), ("copy_file_range", by_range), ("sendfile", by_sendfile)];
    let mut refused = None;
    let mut failed = None;
    for (name, copy) in copies {
        let x = scene.fresh(name);
        let Err(cause) = copy(trace, scene.target(), &x).and_then(|()| spawn(trace, &x)) else {
            continue;
        };
        let kept = if cause.is_denial(None) { &mut refused } else { &mut failed };
        kept.get_or_insert(cause);
    }
    refused.or(failed).map_or(Ok(()), Err)
}

fn by_range(trace: &Trace, from: &Path, to: &Path) -> Gone {
    let (from, to) = (open(trace, from)?, create(trace, to)?);
    trace.step("copy_file_range", || copy_file_range(&from, None, &to, None, MOST)).map(drop)
}

fn by_sendfile(trace: &Trace, from: &Path, to: &Path) -> Gone {
    let (from, to) = (open(trace, from)?, create(trace, to)?);
    trace.step("sendfile", || sendfile(&to, &from, None, MOST)).map(drop)
}

pub(super) fn memfd(scene: &Scene, trace: &Trace) -> Gone {
    let bytes = read(trace, scene.target())?;
    let flags = MemfdFlags::CLOEXEC;
    let memfd = trace.step("memfd_create", || memfd_create("x", flags))?;
    let mut memfd = File::from(memfd);
    trace.step("write the memfd", || memfd.write_all(&bytes))?;
    run_at(trace, &memfd, Path::new(""))
}

pub(super) fn unnamed(scene: &Scene, trace: &Trace) -> Gone {
    let bytes = read(trace, scene.target())?;
    let (flags, mode) = (OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from(0o755));
    let unnamed =
        trace.step("open (O_TMPFILE)", || rustix::fs::open(&scene.directory, flags, mode))?;
    let mut unnamed = File::from(unnamed);
    trace.step("write it", || unnamed.write_all(&bytes))?;
    let x = scene.fresh("x");
    let name = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
    trace.step("linkat", || linkat(CWD, &name, CWD, &x, AtFlags::SYMLINK_FOLLOW))?;
    // Nobody may have it open for writing.
    drop(unnamed);
    run(trace, &x)
}

pub(super) fn cat(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o644);
    let file = trace.step("create x", || options.open(&x))?;
    steps::cat(trace, scene.target(), file)?;
    steps::chmod(trace, &x, 0o755)?;
    run(trace, &x)
}

pub(super) fn tar(scene: &Scene, trace: &Trace) -> Gone {
    let directory = mkdir(trace, scene, "d")?;
    let (from, name) = (scene.target_directory().as_os_str(), scene.target_name());
    let words = ["-c", "-f", "-", "-C"].map(OsStr::new);
    let mut packer = tool("/bin/tar", &[&words[..], &[from, name.as_os_str()]].concat());
    let mut packer = trace.step("tar -c", || packer.stdout(Stdio::piped()).spawn())?;
    let archive = packer.stdout.take().expect("it was piped");
    let words = ["-x", "-f", "-", "-C"].map(OsStr::new);
    let mut unpacker = tool("/bin/tar", &[&words[..], &[directory.as_os_str()]].concat());
    let unpacked = finish(trace, "tar -x", unpacker.stdin(archive).stdout(Stdio::null()));
    trace.announce("tar -c");
    steps::await_end(packer)?;
    trace.announce("tar -x");
    unpacked?;
    run(trace, &directory.join(name))
}

pub(super) fn overwrite(scene: &Scene, trace: &Trace) -> Gone {
    let victim = &scene.image.victim;
    let file =
        trace.step("open A", || OpenOptions::new().write(true).truncate(true).open(victim))?;
    trace.undo(Undo::Restore(victim.clone()));
    steps::cat(trace, scene.target(), file)?;
    run(trace, victim)
}

pub(super) fn shipped(scene: &Scene, trace: &Trace) -> Gone {
    run(trace, &scene.image.copy)
}

pub(super) fn foreign(scene: &Scene, trace: &Trace) -> Gone {
    let x = foreign_copy(scene, trace)?;
    run(trace, &x)
}

/// A copy of T whose bytes this driver has carried with it.
pub(super) fn foreign_copy(scene: &Scene, trace: &Trace) -> Result<PathBuf, Cause> {
    let x = scene.fresh("x");
    write(trace, &x, &elf::target(""))?;
    Ok(x)
}

/// Opens T while it still may.
pub(super) fn hold(scene: &mut Scene, trace: &Trace) -> Gone {
    scene.held = Some(open(trace, scene.target())?);
    Ok(())
}

pub(super) fn from_held(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    let mut bytes = Vec::new();
    let held = scene.held.as_ref().expect("the first phase has opened it");
    let mut held: &File = held;
    trace.step("read the open T", || held.read_to_end(&mut bytes))?;
    write(trace, &x, &bytes)?;
    run(trace, &x)
}

pub(super) fn through_shared_map(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    let bytes = elf::target("");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o755);
    let file = trace.step("create x", || options.open(&x))?;
    trace.step("truncate x", || file.set_len(bytes.len() as u64))?;
    let mut map = Map::shared(trace, &file)?;
    map.store(&bytes);
    drop(file);
    trace.step("munmap", || map.unmap())?;
    run(trace, &x)
}
