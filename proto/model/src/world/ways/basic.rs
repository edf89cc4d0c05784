// SPDX-License-Identifier: Apache-2.0
//! B01 to B37.

use super::{
    ALIAS, ALIASED, Action, At, CHILD, EMPTY, FIRST, FRESH, LOADER, NOTHING, Needs, OPENED, SCRIPT,
    SCRIPTED, SHELL, TARGET, TWIN, VICTIM, Way, alone, at, bytes, exec, other, path, text,
};
use crate::world::{Bytes, Memory};

macro_rules! ways {
    ($($id:literal $name:literal $needs:expr => $steps:expr;)+) => {
        &[$(Way { id: $id, name: $name, needs: $needs, steps: || $steps.into() },)+]
    };
}

pub(super) use ways;

/// B01 to B37, in their order.
pub const BASIC: &[Way] = ways! {
    "B01" "mv-file" NOTHING => alone([Action::Rename(at(TARGET), path(FRESH)), exec(FRESH)]);
    "B02" "cp-file" NOTHING => alone([Action::Copy(at(TARGET), path(FRESH)), exec(FRESH)]);
    "B03" "ln" NOTHING => alone([Action::Link(at(TARGET), path(FRESH)), exec(FRESH)]);
    "B04" "ln-s" NOTHING => alone([Action::Symlink(path(TARGET), path(FRESH)), exec(FRESH)]);
    "B05" "mv-parent" NOTHING => alone([
        Action::Rename(at("/usr/bin"), path("/usr/bin2")),
        exec("/usr/bin2/apt"),
    ]);
    "B06" "mv-grandparent" NOTHING => alone([
        Action::Rename(at("/usr"), path("/usr2")),
        exec("/usr2/bin/apt"),
    ]);
    "B07" "xchg-file" NOTHING => alone([
        Action::Obtain(path(FRESH), other()),
        Action::Exchange(path(FRESH), path(TARGET)),
        exec(FRESH),
    ]);
    "B08" "xchg-dir" NOTHING => alone([
        Action::Mkdir(path("/var/attack/d")),
        Action::Exchange(path("/var/attack/d"), path("/usr/bin")),
        exec("/var/attack/d/apt"),
    ]);
    "B09" "bind-file" NOTHING => alone([
        Action::Obtain(path(FRESH), other()),
        Action::Bind(at(TARGET), path(FRESH)),
        exec(FRESH),
    ]);
    "B10" "bind-dir" NOTHING => alone([bind(), exec("/var/attack/m/apt")]);
    "B11" "bind-mv" NOTHING => alone([
        bind(),
        Action::Rename(at("/var/attack/m/apt"), path("/var/attack/m/y")),
        exec("/var/attack/m/y"),
    ]);
    "B12" "bind-ln" NOTHING => alone([
        bind(),
        Action::Link(at("/var/attack/m/apt"), path("/var/attack/m/y")),
        exec("/var/attack/m/y"),
    ]);
    "B13" "bind-cp" NOTHING => alone([
        bind(),
        Action::Copy(at("/var/attack/m/apt"), path(FRESH)),
        exec(FRESH),
    ]);
    "B14" "overlay-mount" NOTHING => alone([
        Action::Overlay(at("/usr/bin"), path(EMPTY)),
        exec("/var/attack/m/apt"),
    ]);
    "B15" "chroot" NOTHING => alone([Action::Chroot(at("/usr")), exec("/bin/apt")]);
    "B16" "ld.so" NOTHING => alone([exec(LOADER), Action::Load(at(TARGET))]);
    "B17" "memfd" NOTHING => alone([read(), Action::Inject(bytes(), Memory::Memfd)]);
    "B18" "o_tmpfile" NOTHING => alone([
        read(),
        Action::OpenUnnamed(path("/var/attack")),
        Action::WriteOpen(OPENED, bytes()),
        Action::Link(At::Open(OPENED), path(FRESH)),
        exec(FRESH),
    ]);
    "B19" "linkat-opath" NOTHING => alone([
        Action::OpenPath(at(TARGET)),
        Action::Link(At::Open(OPENED), path(FRESH)),
        exec(FRESH),
    ]);
    // /proc/self/root is where paths begin anyway.
    "B20" "proc-root" NOTHING => alone([exec(TARGET)]);
    "B21" "fexecve-opath" NOTHING => alone([
        Action::OpenPath(at(TARGET)),
        Action::Exec(At::Open(OPENED)),
    ]);
    "B22" "file-handle" NOTHING => alone([Action::Handle(at(TARGET))]);
    "B23" "cat-copy" NOTHING => alone([read()].into_iter().chain(write_and_run()));
    "B24" "tar-copy" NOTHING => [
        (FIRST, Action::Fork),
        (FIRST, read()),
        (FIRST, Action::Send(CHILD, bytes())),
    ].into_iter().chain(write_and_run().map(|action| (CHILD, action))).collect::<Vec<_>>();
    "B25" "overwrite-allowed" NOTHING => alone([
        read(),
        Action::Write(path(VICTIM), bytes()),
        exec(VICTIM),
    ]);
    "B26" "image-hardlink" ALIASED => alone([exec(ALIAS)]);
    "B27" "image-copy" Needs { twin: true, ..NOTHING } => alone([exec(TWIN)]);
    "B28" "byo-copy" NOTHING => alone([
        Action::Obtain(path(FRESH), bytes()),
        Action::Chmod(at(FRESH)),
        exec(FRESH),
    ]);
    "B29" "pre-opened-fd" Needs { opened_before: true, ..NOTHING } => alone(
        [Action::ReadOpen(OPENED)].into_iter().chain(write_and_run())
    );
    "B30" "anon-exec" NOTHING => alone([read(), Action::Inject(bytes(), Memory::Anonymous)]);
    "B31" "mmap-exec" NOTHING => alone([Action::Load(at(TARGET))]);
    "B32" "unshare-m" NOTHING => alone([Action::Unshare, exec(TARGET)]);
    "B33" "unshare-p" NOTHING => [
        (FIRST, Action::Unshare),
        (FIRST, Action::Fork),
        (CHILD, exec(TARGET)),
    ];
    "B34" "script-arg" SCRIPTED => alone([
        exec(SHELL),
        Action::Interpret(Bytes::File(at(SCRIPT))),
    ]);
    "B35" "script-stdin" SCRIPTED => alone([
        Action::Open(at(SCRIPT)),
        exec(SHELL),
        Action::Interpret(Bytes::Open(OPENED)),
    ]);
    "B36" "script-pipe" SCRIPTED => [
        (FIRST, Action::Fork),
        (CHILD, exec(SHELL)),
        (FIRST, Action::Read(at(SCRIPT))),
        (FIRST, Action::Send(CHILD, text())),
        (CHILD, Action::Interpret(Bytes::Memory(text()))),
    ];
    "B37" "script-byo" SCRIPTED => alone([
        Action::Obtain(path(FRESH), text()),
        exec(SHELL),
        Action::Interpret(Bytes::File(at(FRESH))),
    ]);
};

fn bind() -> Action {
    Action::Bind(at("/usr/bin"), path(EMPTY))
}

fn read() -> Action {
    Action::Read(at(TARGET))
}

fn write_and_run() -> impl Iterator<Item = Action> {
    [Action::Write(path(FRESH), bytes()), Action::Chmod(at(FRESH)), exec(FRESH)].into_iter()
}
