// SPDX-License-Identifier: Apache-2.0
//! The root directory of a container, and the mounts as seen from it.
//!
//! Before the container's process changes its root, it still has the guest's, and the container
//! lies below at `rootfs`; afterwards `rootfs` means nothing. The mount that was opened at
//! registration tells the two apart. Whatever the process does to its root and its namespaces later,
//! rules change when the policy does: they hold on the mounts of the registration always, and on
//! those of now if the process still has that root, be it in a mount namespace of its own.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    sync::OnceLock,
};

use policy_model::RulePath;
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx},
    io::Errno,
};

use super::{
    Init, InspectError, Mount, Mounts, aside,
    mountinfo::{self, MAX_TEXT_BYTES, MountLine},
};

/// File systems that answer for themselves: a server of the container's own could keep us waiting.
const ANSWERING: [&str; 5] = ["tmpfs", "virtiofs", "ext4", "xfs", "erofs"];

/// Answers as its layers do: those of the container's root are the runtime's, those of any other may
/// be the container's own.
const OVERLAY: &str = "overlay";

/// Without following links, which could lead out of a directory.
const WITHIN: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS);

/// The opened root directory of a container.
#[derive(Debug)]
pub struct Root {
    /// Holds the mount too, so that its number is not given to another.
    fd: OwnedFd,
    /// Number of the mount that holds it.
    mount: u64,
    /// Where that mount stood at registration, as the process saw it.
    point: String,
    /// Where the root stood; none if the process had it for a root already.
    prefix: Option<RulePath>,
    /// What was mounted when that was asked first, which is before the container runs.
    first: OnceLock<Vec<Mount>>,
    /// Keeps the mounts below the root when the process leaves them for a namespace of its own.
    #[expect(dead_code, reason = "it is only kept open")]
    namespace: fs::File,
}

// === impl Root ===

impl Root {
    /// Opens the root of a container whose first process is this.
    ///
    /// # Errors
    /// If the process is gone, there is no such directory, or it does not answer.
    pub fn open(init: &Init, rootfs: Option<&RulePath>) -> Result<Self, InspectError> {
        let (process, rootfs) = (init.clone(), rootfs.cloned());
        aside::ask(init, move || Self::open_here(&process, rootfs.as_ref()))?
    }

    fn open_here(init: &Init, rootfs: Option<&RulePath>) -> Result<Self, InspectError> {
        let seen = fs::File::open(init.proc("root/")).map_err(init.failed("opening the root"))?;
        let prefix = rootfs.filter(|path| path.depth() > 0);
        let prefix = if has_guests_root(init)? { prefix.cloned() } else { None };
        let path = prefix.as_ref().map_or(".", RulePath::as_str);
        let failed = |source| InspectError::Root { path: path.to_owned(), source };
        let fd = reopen(&seen, path).map_err(failed)?;
        let mount = mount_of(&fd).map_err(failed)?;
        let lines = lines_of(init)?;
        let line = lines.iter().find(|line| line.id == mount);
        let point = line.ok_or(InspectError::RootChanged(init.pid()))?.point.clone();
        let namespace = fs::File::open(init.proc("ns/mnt"));
        let namespace = namespace.map_err(init.failed("opening the mount namespace"))?;
        Ok(Self { fd, mount, point, prefix, first: OnceLock::new(), namespace })
    }

    /// The root of a container that an agent before this one registered, whose first process may have
    /// another one since: where the runtime made it, with the mounts that the guest has there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn recover(init: &Init, rootfs: Option<&RulePath>) -> Result<Self, InspectError> {
        match (Self::open(init, rootfs), rootfs.filter(|path| path.depth() > 0)) {
            (Err(InspectError::RootChanged(_)), Some(rootfs)) => {
                let guest = Init::open(std::process::id())?;
                let root = Self::open(&guest, Some(rootfs))?;
                let mounts = root.read(&guest).map(|(_, mounts)| root.first.set(mounts));
                mounts.map(|_| root)
            }
            (root, _) => root,
        }
    }

    /// The container's mounts, as it names them.
    ///
    /// # Errors
    /// If the process is gone, or its mounts could not be read once.
    pub fn mounts(&self, init: &Init) -> Result<Mounts, InspectError> {
        match (self.read(init), self.first.get()) {
            (Ok((_, now)), None) => {
                self.first.get_or_init(|| now.clone());
                Ok(Mounts { views: vec![now], unread: None })
            }
            (Ok((lines, now)), Some(first)) => {
                let first: Vec<_> =
                    first.iter().filter(|it| is_left(it, &lines)).cloned().collect();
                let views = if first == now { vec![now] } else { vec![first, now] };
                Ok(Mounts { views, unread: None })
            }
            (Err(error), Some(first)) if !matches!(error, InspectError::Gone(_)) => {
                Ok(Mounts { views: vec![first.clone()], unread: Some(error.to_string()) })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The mounts of now, and the text that they come from.
    fn read(&self, init: &Init) -> Result<(Vec<MountLine>, Vec<Mount>), InspectError> {
        let lines = lines_of(init)?;
        let prefix = match self.prefix_in(&lines) {
            Some(prefix) => prefix,
            // In a namespace of its own the same mounts have other numbers.
            None if self.is_root_of(init)? => None,
            None => return Err(InspectError::RootChanged(init.pid())),
        };
        let mut mounts = mountinfo::below(&lines, prefix)
            .map_err(|source| InspectError::Mounts { pid: init.pid(), source })?;
        let own = lines.iter().find(|line| line.id == self.mount).map(|line| line.dev);
        let atomic = self.are_atomic(init, answering(&mounts, own))?;
        for (mount, atomic) in mounts.iter_mut().zip(atomic) {
            mount.atomic = atomic;
        }
        Ok((lines, mounts))
    }

    fn is_root_of(&self, init: &Init) -> Result<bool, InspectError> {
        let own = self.fd.try_clone().map_err(init.failed("opening the root once more"))?;
        let theirs = init.proc("root/");
        let is_same = aside::ask(init, move || {
            let (theirs, own) = (fs::metadata(theirs)?, fs::File::from(own).metadata()?);
            Ok((theirs.dev(), theirs.ino()) == (own.dev(), own.ino()))
        })?;
        is_same.map_err(init.failed("reading the root"))
    }

    /// Whether an atomic writer has been at work in each of these: the kubelet's own sign is the link.
    /// <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/volume/util/atomic_writer.go#L56>
    fn are_atomic(
        &self,
        init: &Init,
        points: Vec<Option<RulePath>>,
    ) -> Result<Vec<bool>, InspectError> {
        let root = self.fd.try_clone().map_err(init.failed("opening the root once more"))?;
        let links = move || points.iter().map(|point| has_link(&root, point.as_ref())).collect();
        let links: io::Result<_> = aside::ask(init, links)?;
        links.map_err(init.failed("looking for the link of an atomic writer"))
    }

    /// Whether the process had it for a root already when it was opened: the runtime is done, or
    /// nearly so.
    #[must_use]
    pub fn was_entered(&self) -> bool {
        self.prefix.is_none()
    }

    /// A descriptor of the directory.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Where the container's root is in this text; none if the text is of another root.
    fn prefix_in(&self, lines: &[MountLine]) -> Option<Option<&RulePath>> {
        let now = &lines.iter().find(|line| line.id == self.mount)?.point;
        let is_own_mount = self.prefix.as_ref().is_none_or(|prefix| prefix.as_str() == self.point);
        match &self.prefix {
            prefix if *now == self.point => Some(prefix.as_ref()),
            _ if is_own_mount && now == "/" => Some(None),
            _ => None,
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn has_link(root: &OwnedFd, point: Option<&RulePath>) -> io::Result<bool> {
    let Some(point) = point else { return Ok(false) };
    let how = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    is_link(openat2(root, format!("{point}/..data"), how, Mode::empty(), WITHIN))
}

/// What the agent cannot tell for the moment is not the same as no: rules would not hold for what the
/// links of an atomic writer lead to.
fn is_link(opened: Result<OwnedFd, Errno>) -> io::Result<bool> {
    match opened {
        Ok(link) => Ok(fs::File::from(link).metadata()?.is_symlink()),
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => Err(errno.into()),
        Err(_) => Ok(false),
    }
}

/// The points of mounts below the root that can be looked at: what lies on the way to them answers.
/// An overlay does if it is the container's own root, of this device.
fn answering(mounts: &[Mount], own: Option<u32>) -> Vec<Option<RulePath>> {
    let mut silent: HashMap<&str, bool> = HashMap::new();
    for mount in mounts {
        let answers = ANSWERING.contains(&&*mount.fs_type)
            || (mount.fs_type == OVERLAY && Some(mount.dev) == own);
        *silent.entry(mount.point.as_str()).or_default() |= !answers;
    }
    let is_silent = |path: &str| silent.get(path).copied().unwrap_or_default();
    let answers = |point: &str| {
        let ends = point.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0);
        let mut above = ends.filter_map(|end| point.get(..end));
        !is_silent("/") && !is_silent(point) && !above.any(is_silent)
    };
    mounts
        .iter()
        .map(|mount| {
            (mount.point.depth() > 0 && answers(mount.point.as_str())).then(|| mount.point.clone())
        })
        .collect()
}

/// Whether a super block is still mounted: the number of one that is not can be given to another.
fn is_left(mount: &Mount, lines: &[MountLine]) -> bool {
    lines.iter().any(|line| line.dev == mount.dev && line.fs_type == mount.fs_type)
}

fn lines_of(init: &Init) -> Result<Vec<MountLine>, InspectError> {
    let mut text = Vec::new();
    fs::File::open(init.proc("mountinfo"))
        .and_then(|file| file.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(init.failed("reading the mounts"))?;
    init.check_alive()?;
    mountinfo::parse(&text).map_err(|source| InspectError::Mounts { pid: init.pid(), source })
}

/// The agent has the guest's root too: `mounts.rs` sees to that.
fn has_guests_root(init: &Init) -> Result<bool, InspectError> {
    let inode = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    let own = inode(init.proc("root/")).map_err(init.failed("reading the root"))?;
    let guests = inode("/".into()).map_err(init.failed("reading the agent's root"))?;
    Ok(own == guests)
}

fn mount_of(fd: &OwnedFd) -> io::Result<u64> {
    Ok(statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// Opens a directory below another without following links, which could lead out of it.
fn reopen(root: &impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(root, path, flags, Mode::empty(), WITHIN)?)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn waiting() -> Child {
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn before_it_changes_its_root_a_container_lies_below_the_guests() {
        let mut child = waiting();
        let init = Init::open(child.id()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        let rootfs = RulePath::new(path.to_str().unwrap()).unwrap();
        let root = Root::open(&init, Some(&rootfs)).unwrap();
        let Mounts { views, unread } = root.mounts(&init).unwrap();
        assert_eq!((views.len(), unread), (1, None));
        assert_eq!(views[0][0].point, RulePath::root());
        let place = views[0][0].root.as_deref().unwrap();
        assert!(place.ends_with(path.file_name().unwrap().to_str().unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(root.mounts(&init), Err(InspectError::Gone(_))));
    }

    #[test]
    fn a_root_that_is_a_link_is_not_followed() {
        let mut child = waiting();
        let init = Init::open(child.id()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let link = fs::canonicalize(directory.path()).unwrap().join("rootfs");
        std::os::unix::fs::symlink("/", &link).unwrap();
        let rootfs = RulePath::new(link.to_str().unwrap()).unwrap();
        assert!(matches!(Root::open(&init, Some(&rootfs)), Err(InspectError::Root { .. })));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_link_that_cannot_be_looked_for_is_not_absent() {
        let directory = tempfile::tempdir().unwrap();
        let root = reopen(&fs::File::open(directory.path()).unwrap(), ".").unwrap();
        let found = |point: &str| has_link(&root, Some(&RulePath::new(point).unwrap()));
        fs::create_dir(directory.path().join("secret")).unwrap();
        assert!(!found("/secret").unwrap() && !found("/none").unwrap());
        std::os::unix::fs::symlink("..1", directory.path().join("secret/..data")).unwrap();
        assert!(found("/secret").unwrap() && !found("/secret/..data").unwrap());
        assert!(is_link(Err(Errno::MFILE)).is_err() && !is_link(Err(Errno::NOENT)).unwrap());
    }

    fn mounted(dev: u32, point: &str, fs_type: &str) -> Mount {
        let point = RulePath::new(point).unwrap();
        Mount { dev, root: Some("/".into()), point, fs_type: fs_type.into(), atomic: false }
    }

    #[test]
    fn what_a_process_of_the_container_may_serve_is_not_looked_at() {
        let mounts = [
            mounted(1, "/", "overlay"),
            mounted(2, "/secret", "tmpfs"),
            mounted(3, "/own", "fuse.sshfs"),
            mounted(4, "/own/below", "tmpfs"),
            mounted(5, "/layers", "overlay"),
            mounted(6, "/ownother", "virtiofs"),
            mounted(7, "/twice", "tmpfs"),
            mounted(8, "/twice", "fuse"),
        ];
        let looked_at: Vec<_> = answering(&mounts, Some(1)).into_iter().flatten().collect();
        let looked_at: Vec<_> = looked_at.iter().map(RulePath::as_str).collect();
        assert_eq!(looked_at, ["/secret", "/ownother"]);
        assert_eq!(answering(&mounts, Some(9)), vec![None; 8], "a root of its own making");
    }

    #[test]
    fn mounts_that_a_container_makes_are_looked_through_in_time() {
        let mounts: Vec<_> = (0..100_000)
            .map(|number| mounted(number, &format!("/a/b/c/{number}"), "tmpfs"))
            .collect();
        let started = std::time::Instant::now();
        assert_eq!(answering(&mounts, None).into_iter().flatten().count(), mounts.len());
        // One by one against all others they would take minutes.
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    fn registered(point: &str, prefix: Option<&str>) -> Root {
        Root {
            fd: fs::File::open("/").unwrap().into(),
            mount: 30,
            point: point.into(),
            prefix: prefix.map(|path| RulePath::new(path).unwrap()),
            first: OnceLock::new(),
            namespace: fs::File::open("/proc/self/ns/mnt").unwrap(),
        }
    }

    fn found(root: &Root, line: &str) -> Option<Option<String>> {
        let lines = mountinfo::parse(line.as_bytes()).unwrap();
        root.prefix_in(&lines).map(|prefix| prefix.map(ToString::to_string))
    }

    #[test]
    fn a_text_of_another_root_does_not_count() {
        let root = registered("/run/c/rootfs", Some("/run/c/rootfs"));
        let before = found(&root, "30 21 0:40 / /run/c/rootfs rw - overlay o rw");
        assert_eq!(before, Some(Some("/run/c/rootfs".into())));
        assert_eq!(found(&root, "30 21 0:40 / / rw - overlay o rw"), Some(None));
        assert_eq!(found(&root, "30 21 0:40 / /old rw - overlay o rw"), None);
        assert_eq!(found(&root, "31 30 0:41 / / rw - tmpfs t rw"), None);
    }

    #[test]
    fn a_directory_of_the_guests_root_mount_is_not_taken_for_it() {
        let root = registered("/", Some("/srv/c"));
        let prefix = found(&root, "30 1 0:40 / / rw - ext4 o rw");
        assert_eq!(prefix, Some(Some("/srv/c".into())));
    }
}
