// SPDX-License-Identifier: Apache-2.0
//! Puts back what a way has changed outside its own directory, so that the next way finds the same
//! image. What cannot be put back is said.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use crate::elf;

/// How to take one change back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Undo {
    /// It lies at the first path and belongs to the second.
    Rename(PathBuf, PathBuf),
    /// Two names have changed places.
    Exchange(PathBuf, PathBuf),
    /// Something is mounted there.
    Unmount(PathBuf),
    /// A name is new.
    Remove(PathBuf),
    /// An allowed program was overwritten.
    Restore(PathBuf),
}

// === impl Undo ===

impl Undo {
    /// Takes it back.
    ///
    /// # Errors
    /// What is left behind, and why.
    pub(crate) fn apply(&self) -> Result<(), String> {
        let done: io::Result<()> = match self {
            Self::Rename(from, to) => fs::rename(from, to),
            Self::Exchange(one, other) => {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(Into::into)
            }
            Self::Unmount(path) => unmount(path, UnmountFlags::DETACH).map_err(Into::into),
            Self::Remove(path) => fs::remove_file(path),
            Self::Restore(path) => fs::write(path, elf::allowed()),
        };
        done.map_err(|error| format!("{self:?}: {error}"))
    }
}

/// Takes all back, the last change first, and removes the way's directory.
pub(crate) fn all(undos: &[Undo], directory: &Path) -> Vec<String> {
    let mut left: Vec<_> = undos.iter().rev().filter_map(|undo| undo.apply().err()).collect();
    if let Err(error) = fs::remove_dir_all(directory) {
        left.push(format!("{}: {error}", directory.display()));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_taken_back_in_reverse_and_what_stays_is_said() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| root.path().join(name));
        let work = root.path().join("work");
        fs::create_dir(&work).unwrap();
        // a was renamed to b, b to c.
        fs::write(&c, "text").unwrap();
        let undos = [Undo::Rename(b.clone(), a.clone()), Undo::Rename(c.clone(), b.clone())];
        assert!(all(&undos, &work).is_empty() && a.exists() && !work.exists());
        let left = all(&[Undo::Remove(c)], root.path());
        assert!(matches!(&left[..], [one] if one.contains("No such file")), "{left:?}");
    }
}
