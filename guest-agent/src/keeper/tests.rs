// SPDX-License-Identifier: Apache-2.0
//! A keeper on a thread of this process, which is the agent's too.

use std::fs;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::*;

fn handle(path: &Path) -> OwnedFd {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn what_is_kept_stays_open_without_its_agent_until_it_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run/keeper.sock");
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let listener = process::listen(&socket).unwrap();
    thread::spawn(move || process::serve_all(&listener));
    let path = fs::canonicalize(&file).unwrap();
    let is_open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        links.filter(|link| fs::read_link(link.path()).is_ok_and(|it| it == path)).count()
    };
    let mut agent = Keeper::at(&socket);
    let (one, two) = (handle(&file), handle(&file));
    agent.keep(7, [&one, &two].into_iter()).unwrap();
    drop((one, two, agent));
    assert_eq!(is_open(), 1);
    let mut next = Keeper::at(&socket);
    next.release(8).unwrap();
    assert_eq!(is_open(), 1);
    next.release(7).unwrap();
    assert_eq!(is_open(), 0);
}

#[test]
fn without_a_keeper_there_is_nothing_to_release() {
    let directory = tempfile::tempdir().unwrap();
    Keeper::at(&directory.path().join("none.sock")).release(1).unwrap();
}
