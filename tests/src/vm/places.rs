// SPDX-License-Identifier: Apache-2.0
//! Where a VM keeps its files: a short-lived directory for sockets with a short path, and a log
//! directory that stays. Both sweep what earlier runs have left.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// A unix socket's path has at most 107 bytes, so not below the target directory.
const SCRATCH_ROOT: &str = "/tmp";
const SCRATCH_PREFIX: &str = "kadapter-vm-";

/// Runs of the same name whose logs are kept.
const KEPT_RUNS: usize = 8;

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

// === impl Scratch ===

impl Scratch {
    /// Makes a directory of this process, after removing those of processes that are gone.
    pub(crate) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep_scratch();
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{SCRATCH_PREFIX}{}-{number}", process::id());
            let path = Path::new(SCRATCH_ROOT).join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                // Of an earlier process with this process's id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("create {}", path.display()));
                }
            }
        }
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is swept by a later run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn sweep_scratch() {
    for entry in fs::read_dir(SCRATCH_ROOT).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner_of);
        if owner
            .is_some_and(|pid| pid != process::id() && !Path::new(&format!("/proc/{pid}")).exists())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner_of(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(SCRATCH_PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

/// Makes the next log directory of a VM name and removes the oldest beyond those kept.
pub(crate) fn log_directory(root: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(root).with_context(|| format!("create {}", root.display()))?;
    let mut runs = runs_of(root, name)?;
    loop {
        let next = runs.last().map_or(1, |last| last + 1);
        let path = root.join(format!("{name}-{next}"));
        match fs::create_dir(&path) {
            Ok(()) => {
                for old in &runs[..(runs.len() + 1).saturating_sub(KEPT_RUNS)] {
                    // Another process may sweep the same.
                    let _ = fs::remove_dir_all(root.join(format!("{name}-{old}")));
                }
                return Ok(path);
            }
            // Another process took the number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => runs.push(next),
            Err(error) => {
                return Err(error).with_context(|| format!("create {}", path.display()));
            }
        }
    }
}

/// Numbers of the runs of one name, in order.
fn runs_of(root: &Path, name: &str) -> Result<Vec<u32>> {
    let mut runs: Vec<u32> = fs::read_dir(root)
        .with_context(|| format!("read {}", root.display()))?
        .flatten()
        .filter_map(|entry| {
            let file_name = entry.file_name();
            file_name.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
        })
        .collect();
    runs.sort_unstable();
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_the_latest_runs_are_kept() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..KEPT_RUNS + 3 {
            log_directory(root.path(), "a").unwrap();
        }
        log_directory(root.path(), "a-b").unwrap();
        let expected: Vec<u32> = (4..=KEPT_RUNS as u32 + 3).collect();
        assert_eq!(runs_of(root.path(), "a").unwrap(), expected);
        assert_eq!(runs_of(root.path(), "a-b").unwrap(), [1]);
    }

    #[test]
    fn only_directories_with_an_owner_are_swept() {
        assert_eq!(owner_of("kadapter-vm-17-0"), Some(17));
        assert_eq!(owner_of("kadapter-vm-x-0"), None);
        assert_eq!(owner_of("kadapter-17-0"), None);
    }
}
