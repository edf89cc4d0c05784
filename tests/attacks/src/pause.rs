// SPDX-License-Identifier: Apache-2.0
//! The pause between two phases: a file says that it began, another one ends it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::args::PauseArgs;

/// What happens meanwhile takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Says that the first phases are over and waits. Returns at once if no files are given.
///
/// # Errors
/// If the file does not come in time.
pub(crate) fn wait(args: &PauseArgs) -> io::Result<()> {
    let (Some(ready), Some(go)) = (&args.ready, &args.go) else { return Ok(()) };
    let directory = go.parent().unwrap_or(Path::new("/"));
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let created = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(directory, created)?;
    File::create(ready)?;
    let deadline = Instant::now() + PATIENCE;
    // Looked at after the watch was set, so that none is missed.
    while !go.exists() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{}", go.display())));
        }
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
        if fds[0].any() == Some(true) {
            inotify.read_events()?;
        }
    }
    // The other one is of whoever made it.
    fs::remove_file(ready)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn it_ends_with_the_file_that_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let [ready, go] = ["ready", "go"].map(|name| root.path().join(name));
        let args = PauseArgs { ready: Some(ready.clone()), go: Some(go.clone()) };
        let waits = thread::spawn(move || wait(&args));
        while !ready.exists() {
            thread::yield_now();
        }
        assert!(!waits.is_finished());
        File::create(&go).unwrap();
        waits.join().unwrap().unwrap();
        assert!(!ready.exists() && go.exists());
    }
}
