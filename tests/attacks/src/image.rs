// SPDX-License-Identifier: Apache-2.0
//! Lays down the root of an image to attack: the targets and what is equal to them, programs that
//! no rule speaks of, a shell and a loader, this driver itself.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use attacks::places;

use crate::args::ImageArgs;
use crate::elf;

const DIRECTORIES: [&str; 14] = [
    "bin",
    "dev",
    "etc",
    "lib64",
    "opt/vendor",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/bin",
    "usr/sbin",
    "var/attack",
    "var/log",
];

/// Those for everybody.
const SHARED: [&str; 2] = ["tmp", "var/attack"];

/// Symbolic links to the shell's one program: hard links would make its names an object of rules.
const APPLETS: [&str; 8] = ["cat", "cp", "ls", "sh", "sleep", "stat", "tar", "true"];

/// What the script prints is put together only when it runs, so that who prints its text is not
/// taken for who ran it.
pub(crate) const SCRIPT: &str = "#!/bin/sh\nwho=script\necho \"attack: the $who itself has run\"\n";

/// What it prints.
pub(crate) const SCRIPT_MARK: &[u8] = b"attack: the script itself has run";

/// Makes the directory the root of an image.
///
/// # Errors
/// If something is there already or cannot be written.
pub(crate) fn lay(args: &ImageArgs) -> io::Result<()> {
    let inside = |path: &str| args.root.join(path.trim_start_matches('/'));
    for directory in DIRECTORIES {
        fs::create_dir_all(inside(directory))?;
    }
    for directory in SHARED {
        fs::set_permissions(inside(directory), Permissions::from_mode(0o1777))?;
    }
    fs::write(inside("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    install(&args.busybox, &inside("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", inside("bin").join(applet))?;
    }
    install(&args.loader, &inside(places::LOADER))?;
    install(Path::new("/proc/self/exe"), &inside(places::DRIVER))?;
    targets(&inside)
}

fn targets(inside: &impl Fn(&str) -> PathBuf) -> io::Result<()> {
    write(&inside(places::TARGET), elf::target(""))?;
    write(&inside(places::COPY), elf::target(""))?;
    write(&inside(places::SCRIPT), SCRIPT)?;
    write(&inside(places::ALLOWED), elf::allowed())?;
    write(&inside(places::VICTIM), elf::allowed())?;
    for way in places::LINKED {
        let own = places::own_target(places::TARGET, way);
        write(&inside(&own), elf::target(way))?;
        fs::hard_link(inside(&own), inside(&places::own_alias(places::TARGET, way)))?;
    }
    for way in places::LOADED {
        let own = places::own_target(places::TARGET, way);
        write(&inside(&own), elf::loaded_target(way))?;
    }
    Ok(())
}

fn install(from: &Path, to: &Path) -> io::Result<()> {
    write(to, fs::read(from)?)
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_image_has_every_place_and_two_names_only_where_they_are_needed() {
        let root = tempfile::tempdir().unwrap();
        let [busybox, loader] = ["busybox", "loader"].map(|name| root.path().join(name));
        fs::write(&busybox, "").unwrap();
        fs::write(&loader, "").unwrap();
        let image = root.path().join("image");
        lay(&ImageArgs { root: image.clone(), busybox, loader }).unwrap();
        let inside = |path: &str| image.join(path.trim_start_matches('/'));
        let inode = |path: &str| fs::metadata(inside(path)).unwrap().ino();
        for target in places::targets() {
            assert_eq!(fs::metadata(inside(&target)).unwrap().mode() & 0o777, 0o755);
        }
        assert_eq!(fs::metadata(inside(places::TARGET)).unwrap().nlink(), 1);
        let linked = places::own_target(places::TARGET, "B26");
        assert_eq!(inode(&linked), inode(places::ALIAS));
        assert_ne!(inode(places::TARGET), inode(places::COPY));
        let [target, copy] =
            [places::TARGET, places::COPY].map(|path| fs::read(inside(path)).unwrap());
        assert_eq!(target, copy);
        assert!(!SCRIPT.as_bytes().windows(SCRIPT_MARK.len()).any(|part| part == SCRIPT_MARK));
    }
}
