// SPDX-License-Identifier: Apache-2.0
//! From the words of a command to actions of the model, for programs whose actions are known.

use anyhow::{Result, bail};
use policy_model::{
    RulePath,
    world::{
        Action, At, Bytes, Content, ProcessId, World,
        ways::{DRIVER, Way},
    },
};

/// Where programs without a slash are looked up.
const PATH: &str = "/bin";

const BUSYBOX: &str = "/bin/busybox";

/// What a write puts into a file: nothing else in a case has these bytes.
const WRITTEN: u32 = 1_000_000;

/// What a process does that was just forked from a shell; each is taken if the ones before were.
/// An error is a reason why the model cannot express it.
pub(crate) fn actions(
    words: &[String],
    world: &World,
    who: ProcessId,
) -> Result<Vec<(ProcessId, Action)>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [program, arguments @ ..] = &*words else { bail!("a command has words") };
    let file =
        if program.contains('/') { (*program).to_owned() } else { format!("{PATH}/{program}") };
    let mut actions = vec![(who, Action::Exec(at(&file)?))];
    if let (DRIVER, ["change", kind, path]) = (&*file, arguments) {
        actions.push((who, change(kind, path)?));
        return Ok(actions);
    }
    if file == DRIVER {
        let ["run", way] = arguments else { bail!("the driver is asked for one way") };
        let Some(found) = Way::find(way) else { bail!("the model has no way {way}") };
        actions.extend(found.steps_in(world, who));
        return Ok(actions);
    }
    let (applet, arguments) = match (&*file, arguments) {
        (BUSYBOX, [applet, rest @ ..]) => (*applet, rest),
        _ => (file.rsplit('/').next().unwrap_or_default(), arguments),
    };
    let own = if is_known(applet) { applet_actions(applet, arguments, world)? } else { Vec::new() };
    actions.extend(own.into_iter().map(|action| (who, action)));
    Ok(actions)
}

/// Rules on files have one word for all of these.
fn change(kind: &str, file: &str) -> Result<Action> {
    Ok(match kind {
        "times" | "set-attribute" | "remove-attribute" | "set-acl" => Action::Chmod(at(file)?),
        "listen" | "wait" => Action::Obtain(path(file)?, Content::data(WRITTEN)),
        "connect" | "send" => Action::Read(at(file)?),
        _ => bail!("the driver makes no change `{kind}`"),
    })
}

fn is_known(applet: &str) -> bool {
    let applets = ["cat", "cp", "mv", "ln", "rm", "mkdir", "rmdir", "chmod", "sh", "ls", "sleep"];
    [&applets[..], &["tar", "touch", "unshare", "mount", "chroot"]].concat().contains(&applet)
}

fn applet_actions(applet: &str, arguments: &[&str], world: &World) -> Result<Vec<Action>> {
    Ok(match (applet, arguments) {
        ("cat", files) => {
            files.iter().map(|file| Ok(Action::Read(at(file)?))).collect::<Result<_>>()?
        }
        ("cp", [from, to]) => vec![Action::Copy(at(from)?, into(world, from, to)?)],
        ("mv", [from, to]) => vec![Action::Rename(at(from)?, into(world, from, to)?)],
        ("ln", ["-s", target, link]) => vec![Action::Symlink(path(target)?, path(link)?)],
        ("ln", [from, to]) => vec![Action::Link(at(from)?, into(world, from, to)?)],
        ("rm", [file]) => vec![Action::Unlink(path(file)?)],
        ("mkdir", [directory]) => vec![Action::Mkdir(path(directory)?)],
        ("rmdir", [directory]) => vec![Action::Rmdir(path(directory)?)],
        ("chmod", [_, file]) => vec![Action::Chmod(at(file)?)],
        ("touch", [file]) => vec![Action::Obtain(path(file)?, Content::data(WRITTEN))],
        ("unshare", ["-m", program]) => vec![Action::Unshare, Action::Exec(at(program)?)],
        ("mount", ["--bind", from, to]) => vec![Action::Bind(at(from)?, path(to)?)],
        ("mount", ["-t", "tmpfs", _, to]) => vec![Action::Cover(path(to)?)],
        ("chroot", [root, program]) => vec![Action::Chroot(at(root)?), Action::Exec(at(program)?)],
        ("sh", ["-c", script]) => shell_actions(script)?,
        ("sh", [file]) => vec![Action::Interpret(Bytes::File(at(file)?))],
        _ => bail!("the model does not know what `{applet} {}` does", arguments.join(" ")),
    })
}

/// A script of one command: a redirection, or a program.
fn shell_actions(script: &str) -> Result<Vec<Action>> {
    let words: Vec<_> = script.split_whitespace().collect();
    match &*words {
        ["echo", _, ">" | ">>", file] => {
            Ok(vec![Action::Obtain(path(file)?, Content::data(WRITTEN))])
        }
        [program] if program.starts_with('/') => Ok(vec![Action::Exec(at(program)?)]),
        _ => bail!("the model does not know what the script `{script}` does"),
    }
}

/// The last word of cp, mv and ln may be a directory.
fn into(world: &World, from: &str, to: &str) -> Result<RulePath> {
    if world.is_directory_at(&path(to)?) {
        let name = from.rsplit('/').next().unwrap_or_default();
        return path(&format!("{}/{name}", to.trim_end_matches('/')));
    }
    path(to)
}

fn at(text: &str) -> Result<At> {
    path(text).map(At::Path)
}

fn path(text: &str) -> Result<RulePath> {
    Ok(RulePath::new(text)?)
}
