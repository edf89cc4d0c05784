// SPDX-License-Identifier: Apache-2.0
//! Steps that several ways are made of. Each is announced, and changes of the image outside the
//! way's directory are noted with how to take them back.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{execv, execveat, geteuid, getgid};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};

use crate::scene::Scene;
use crate::trace::{Cause, Trace};
use crate::undo::Undo;

/// What a way's end is; where it is Ok, the target may have run or not.
pub(crate) type Gone = Result<(), Cause>;

/// Becomes a program.
pub(crate) fn run(trace: &Trace, path: &Path) -> Gone {
    let path = text(path)?;
    trace.step("exec", || execv(&path, &[&path]).map(drop))
}

/// Becomes the program of a descriptor, or one below it.
pub(crate) fn run_at(trace: &Trace, at: impl AsFd, name: &Path) -> Gone {
    let (name, argv) = (text(name)?, [text(Path::new("target"))?]);
    let flags = AtFlags::AT_EMPTY_PATH;
    trace.step("execveat", || execveat(at, &name, &argv, &[] as &[CString], flags).map(drop))
}

/// Runs a program in a process of its own, and waits.
pub(crate) fn spawn(trace: &Trace, path: &Path) -> Gone {
    let status = trace.step("exec", || Command::new(path).env_clear().status())?;
    killed(status)
}

/// Fails if a signal ended it.
fn killed(status: ExitStatus) -> Gone {
    status.signal().map_or(Ok(()), |signal| Err(Cause::Signal(signal)))
}

/// Takes what a program said for what the kernel told it.
pub(crate) fn heard(output: &Output) -> Gone {
    killed(output.status)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(if text.contains("Permission denied") {
        Errno::EACCES.into()
    } else if text.contains("Operation not permitted") {
        Errno::EPERM.into()
    } else {
        Cause::Other(format!("{}: {}", output.status, text.trim()))
    })
}

/// A program of the image, its errors kept.
pub(crate) fn tool(path: &str, args: &[&OsStr]) -> Command {
    let mut command = Command::new(path);
    command.args(args).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs a program whose output goes on as it is.
pub(crate) fn finish(trace: &Trace, name: &str, command: &mut Command) -> Gone {
    let child = trace.step(name, || command.spawn())?;
    await_end(child)
}

/// Waits for a program's end.
pub(crate) fn await_end(child: Child) -> Gone {
    heard(&child.wait_with_output()?)
}

/// Renames.
pub(crate) fn rename(trace: &Trace, from: &Path, to: &Path) -> Gone {
    trace.step("rename", || fs::rename(from, to))?;
    trace.undo(Undo::Rename(to.into(), from.into()));
    Ok(())
}

/// Lets two names change places.
pub(crate) fn exchange(trace: &Trace, one: &Path, other: &Path) -> Gone {
    trace
        .step("rename (exchange)", || renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE))?;
    trace.undo(Undo::Exchange(one.into(), other.into()));
    Ok(())
}

/// Opens for reading.
pub(crate) fn open(trace: &Trace, path: &Path) -> Result<File, Cause> {
    trace.step("open T", || File::open(path))
}

/// Opens a path only.
pub(crate) fn open_path(trace: &Trace, path: &Path) -> Result<OwnedFd, Cause> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    trace.step("open T (O_PATH)", || rustix::fs::open(path, flags, Mode::empty()))
}

/// Reads it all.
pub(crate) fn read(trace: &Trace, path: &Path) -> Result<Vec<u8>, Cause> {
    let mut bytes = Vec::new();
    let mut file = open(trace, path)?;
    trace.step("read T", || file.read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// Makes an executable file.
pub(crate) fn create(trace: &Trace, path: &Path) -> Result<File, Cause> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o755);
    trace.step("create x", || options.open(path))
}

/// Makes an executable file with these bytes.
pub(crate) fn write(trace: &Trace, path: &Path, bytes: &[u8]) -> Gone {
    let mut file = create(trace, path)?;
    trace.step("write x", || file.write_all(bytes))
}

/// Copies T to a new executable file, by read and write.
pub(crate) fn copy(trace: &Trace, from: &Path, to: &Path) -> Gone {
    write(trace, to, &read(trace, from)?)
}

/// Sends what `cat` prints of a file into another one.
pub(crate) fn cat(trace: &Trace, from: &Path, to: File) -> Gone {
    finish(trace, "cat T", tool("/bin/cat", &[from.as_os_str()]).stdout(to))
}

/// Changes permissions.
pub(crate) fn chmod(trace: &Trace, path: &Path, mode: u32) -> Gone {
    trace.step("chmod", || fs::set_permissions(path, Permissions::from_mode(mode)))
}

/// Makes a directory in the way's own.
pub(crate) fn mkdir(trace: &Trace, scene: &Scene, name: &str) -> Result<PathBuf, Cause> {
    let path = scene.fresh(name);
    trace.step("mkdir", || fs::create_dir(&path))?;
    Ok(path)
}

/// Becomes able to mount: who is not root enters namespaces of its own, and root has no need to.
/// Returns whether mounts are seen by this process only.
pub(crate) fn become_able_to_mount(trace: &Trace) -> Result<bool, Cause> {
    if geteuid().is_root() {
        return Ok(false);
    }
    enter(trace, CloneFlags::CLONE_NEWNS)?;
    Ok(true)
}

/// Enters new namespaces, with a user namespace if it is not root's to do so.
pub(crate) fn enter(trace: &Trace, flags: CloneFlags) -> Gone {
    if geteuid().is_root() {
        return trace.step("unshare", || unshare(flags));
    }
    let (user, group) = (geteuid(), getgid());
    trace.step("unshare (user)", || unshare(flags | CloneFlags::CLONE_NEWUSER))?;
    trace.step("map users", || -> io::Result<()> {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))
    })
}

fn text(path: &Path) -> Result<CString, Cause> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| Cause::Other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(code: i32, stderr: &str) -> Output {
        Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn what_a_program_says_is_taken_for_the_kernels_answer() {
        assert_eq!(heard(&output(0, "Permission denied")), Ok(()));
        let denied = heard(&output(2, "sh: can't open 'x': Permission denied\n"));
        assert_eq!(denied, Err(Errno::EACCES.into()));
        assert_eq!(heard(&output(1, "tar: Operation not permitted")), Err(Errno::EPERM.into()));
        let other = heard(&output(1, "cat: x: No such file or directory"));
        assert!(!other.unwrap_err().is_denial(None));
    }
}
