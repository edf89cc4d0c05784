// SPDX-License-Identifier: Apache-2.0
//! Ways that let another program, or the kernel in its place, load the target.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::errno::Errno;
use rustix::mm::ProtFlags;

use super::mounts::overlaid;
use crate::elf;
use crate::memory::Map;
use crate::scene::Scene;
use crate::steps::{Gone, heard, open, run, write};
use crate::trace::{Cause, Trace};

/// What the loader says when the kernel refuses a map; it swallows the error number.
const REFUSED_MAP: &str = "failed to map segment";

pub(super) fn loader(scene: &Scene, trace: &Trace) -> Gone {
    load(scene, trace, scene.target())
}

/// By the loader; if that is refused, by hand.
pub(super) fn from_overlay(scene: &Scene, trace: &Trace) -> Gone {
    let target = overlaid(scene, trace)?.join(scene.target_name());
    let Err(refused) = load(scene, trace, &target) else { return Ok(()) };
    let file = open(trace, &target)?;
    Map::file(trace, &file, ProtFlags::READ | ProtFlags::EXEC)?.jump(trace)?;
    Err(refused)
}

pub(super) fn interpreter_of_elf(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    write(trace, &x, &elf::interpreted_by(&scene.target().to_string_lossy()))?;
    run(trace, &x)
}

pub(super) fn interpreter_of_script(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    write(trace, &x, format!("#!{}\n", scene.target().display()).as_bytes())?;
    run(trace, &x)
}

/// Runs the loader, which has to be heard: it tells in words what the kernel refused.
pub(super) fn load(scene: &Scene, trace: &Trace, target: &Path) -> Gone {
    let mut command = Command::new(&scene.image.loader);
    command.arg(target).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    let child = trace.step("exec the loader", || command.spawn())?;
    said(&child.wait_with_output()?)
}

fn said(output: &Output) -> Result<(), Cause> {
    if String::from_utf8_lossy(&output.stderr).contains(REFUSED_MAP) {
        return Err(Errno::EACCES.into());
    }
    heard(output)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn a_map_that_the_loader_could_not_have_is_a_denial() {
        let output = |stderr: &str| Output {
            status: ExitStatus::from_raw(127 << 8),
            stdout: Vec::new(),
            stderr: stderr.into(),
        };
        let refused = "x: error while loading shared libraries: x: failed to map segment from \
                       shared object";
        assert!(said(&output(refused)).unwrap_err().is_denial(None));
        assert!(!said(&output("x: invalid ELF header")).unwrap_err().is_denial(None));
    }
}
