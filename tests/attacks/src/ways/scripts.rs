// SPDX-License-Identifier: Apache-2.0
//! Ways to run a script without executing it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::image::SCRIPT;
use crate::scene::Scene;
use crate::steps::{Gone, await_end, finish, run, tool, write};
use crate::trace::Trace;

const SHELL: &str = "/bin/sh";

pub(super) fn direct(scene: &Scene, trace: &Trace) -> Gone {
    run(trace, &scene.image.script)
}

pub(super) fn argument(scene: &Scene, trace: &Trace) -> Gone {
    interpret(trace, &scene.image.script)
}

pub(super) fn input(scene: &Scene, trace: &Trace) -> Gone {
    let script = trace.step("open T", || File::open(&scene.image.script))?;
    finish(trace, "sh < T", tool(SHELL, &[]).stdin(script))
}

pub(super) fn pipe(scene: &Scene, trace: &Trace) -> Gone {
    let mut cat: Command = tool("/bin/cat", &[scene.image.script.as_os_str()]);
    let mut cat = trace.step("cat T", || cat.stdout(Stdio::piped()).spawn())?;
    let script = cat.stdout.take().expect("it was piped");
    let shell = trace.step("sh", || tool(SHELL, &[]).stdin(script).spawn())?;
    trace.announce("cat T");
    let printed = await_end(cat);
    let interpreted = await_end(shell);
    printed?;
    trace.announce("sh");
    interpreted
}

pub(super) fn foreign(scene: &Scene, trace: &Trace) -> Gone {
    let x = scene.fresh("x");
    write(trace, &x, SCRIPT.as_bytes())?;
    interpret(trace, &x)
}

fn interpret(trace: &Trace, script: &Path) -> Gone {
    finish(trace, "sh T", &mut tool(SHELL, &[script.as_os_str()]))
}
