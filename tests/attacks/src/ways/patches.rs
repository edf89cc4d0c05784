// SPDX-License-Identifier: Apache-2.0
//! Ways that put the target's bytes into memory that is already allowed to be code. The bytes come
//! from elsewhere: the target's own file is not read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::mm::ProtFlags;

use crate::attempt::{exit_now, fork_process};
use crate::elf;
use crate::memory::{Map, call_landing, landing};
use crate::scene::Scene;
use crate::steps::{Gone, run};
use crate::trace::{Cause, Trace};

/// What ptrace writes at once.
const WORD: usize = 8;

pub(super) fn private_map(scene: &Scene, trace: &Trace) -> Gone {
    let file = allowed(scene, trace)?;
    let mut map = Map::file(trace, &file, ProtFlags::READ | ProtFlags::WRITE)?;
    map.store(&elf::target(""));
    map.make_executable(trace)?;
    map.jump(trace)
}

pub(super) fn writable_map(scene: &Scene, trace: &Trace) -> Gone {
    let file = allowed(scene, trace)?;
    let mut map = Map::file(trace, &file, ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC)?;
    map.store(&elf::target(""));
    map.jump(trace)
}

pub(super) fn own_text(_: &Scene, trace: &Trace) -> Gone {
    let memory = trace
        .step("open /proc/self/mem", || OpenOptions::new().write(true).open("/proc/self/mem"))?;
    let code = elf::target_code();
    trace.step("write own text", || memory.write_all_at(&code, landing()))?;
    call_landing(trace);
    Ok(())
}

/// A child that asks to be traced; if it may not ask, one that is attached to.
pub(super) fn traced_child(scene: &Scene, trace: &Trace) -> Gone {
    let Some(child) = fork_process()? else { be_traced(scene, trace) };
    let refused = match waitpid(child, None)? {
        // At its exec.
        WaitStatus::Stopped(..) => return poke(trace, child),
        WaitStatus::Exited(_, errno) => Cause::Errno(errno),
        other => Cause::Other(format!("the child is {other:?}")),
    };
    attached_child(trace).map_err(|_| refused)
}

/// Its exit status is the number of what it was refused.
fn be_traced(scene: &Scene, trace: &Trace) -> ! {
    let asked = trace.step("ptrace (traceme)", ptrace::traceme);
    let ended = asked.and_then(|()| run(trace, &scene.image.allowed));
    exit_now(match ended {
        Err(Cause::Errno(errno)) => errno,
        _ => Errno::EIO as i32,
    })
}

/// A child that has stopped itself.
fn attached_child(trace: &Trace) -> Gone {
    let Some(child) = fork_process()? else {
        let _ = raise(Signal::SIGSTOP);
        exit_now(0)
    };
    waitpid(child, Some(WaitPidFlag::WUNTRACED))?;
    trace.step("ptrace (attach)", || ptrace::attach(child))?;
    waitpid(child, None)?;
    kill(child, Signal::SIGCONT)?;
    poke(trace, child)
}

/// Writes the target's code to where the child would go on, and lets it.
fn poke(trace: &Trace, child: Pid) -> Gone {
    let registers = trace.step("ptrace (getregs)", || ptrace::getregs(child))?;
    let mut code = elf::target_code();
    code.resize(code.len().next_multiple_of(WORD), 0);
    for (at, word) in (registers.rip..).step_by(WORD).zip(code.chunks_exact(WORD)) {
        let word = i64::from_ne_bytes(word.try_into().expect("chunks have this size"));
        trace
            .step("ptrace (poketext)", || ptrace::write(child, at as ptrace::AddressType, word))?;
    }
    trace.step("ptrace (detach)", || ptrace::detach(child, None))?;
    waitpid(child, None)?;
    Ok(())
}

fn allowed(scene: &Scene, trace: &Trace) -> Result<File, Cause> {
    trace.step("open A", || File::open(&scene.image.allowed))
}
