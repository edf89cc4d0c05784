// SPDX-License-Identifier: Apache-2.0
//! Artefacts that are slow to make, kept between runs.
//!
//! Owns `${XDG_CACHE_HOME:-~/.cache}/kadapter`. In: a kind, the digest of everything that an
//! artefact is made from, and a closure that makes it. Out: the directory of a finished entry,
//! `<kind>/<digest>/`, which nobody changes afterwards. Never: hands out a half-made entry, lets
//! two processes make the same one, or deletes a finished one.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub use self::inputs::Inputs;

mod inputs;

/// Where entries live; [`Cache::user`] for all but this module's own tests.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// The user's entry of these inputs, made now unless it exists: [`Cache::get_or_make`].
pub fn get_or_make(
    kind: &str,
    inputs: &Inputs,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    Cache::user()?.get_or_make(kind, inputs, make)
}

/// The user's entry of these inputs, if it exists: [`Cache::get`].
pub fn get(kind: &str, inputs: &Inputs) -> Result<Option<PathBuf>> {
    Ok(Cache::user()?.get(kind, inputs))
}

// === impl Cache ===

impl Cache {
    /// The cache of the user who runs this process.
    pub fn user() -> Result<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        let base = base.context("neither XDG_CACHE_HOME nor HOME names an absolute path")?;
        Ok(Self::at(base.join("kadapter")))
    }

    /// A cache below a directory of the caller's choice.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A directory for state that changes (package lists, compiler cache, logs), made if needed.
    pub fn state(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(dir)
    }

    /// The finished entry of these inputs, if there is one.
    pub fn get(&self, kind: &str, inputs: &Inputs) -> Option<PathBuf> {
        let entry = self.root.join(kind).join(inputs.digest());
        entry.is_dir().then_some(entry)
    }

    /// The entry of these inputs. If it is missing, `make` fills a temporary directory, which
    /// becomes the entry only when `make` succeeds. Callers in other processes wait meanwhile.
    pub fn get_or_make(
        &self,
        kind: &str,
        inputs: &Inputs,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(entry) = self.get(kind, inputs) {
            return Ok(entry);
        }
        let digest = inputs.digest();
        let shelf = Shelf { dir: self.state(kind)? };
        let _lock = shelf.lock(&digest)?;
        // Whoever held the lock before may have made it.
        if let Some(entry) = self.get(kind, inputs) {
            return Ok(entry);
        }
        shelf.sweep()?;

        let unfinished = shelf.unfinished(&digest);
        // Only a crashed run leaves one behind, for its lock is ours now.
        remove(&unfinished)?;
        fs::create_dir(&unfinished)
            .with_context(|| format!("creating {}", unfinished.display()))?;
        let entry = shelf.dir.join(&digest);
        let made = make(&unfinished).and_then(|()| {
            let manifest = unfinished.join(".inputs");
            fs::write(&manifest, inputs.manifest()).context("writing the list of inputs")?;
            fs::rename(&unfinished, &entry)
                .with_context(|| format!("renaming {}", unfinished.display()))
        });
        if let Err(error) = made {
            // The first error is the one to report; the rest is swept by the next run.
            let _ = remove(&unfinished);
            return Err(error);
        }
        Ok(entry)
    }
}

/// All entries of one kind.
struct Shelf {
    dir: PathBuf,
}

// === impl Shelf ===

impl Shelf {
    fn unfinished(&self, digest: &str) -> PathBuf {
        self.dir.join(format!(".{digest}.tmp"))
    }

    /// Lock files stay: unlinking one would let a waiter and a newcomer hold "the" lock at once.
    fn lock_file(&self, digest: &str) -> Result<File> {
        let path = self.dir.join(format!(".{digest}.lock"));
        File::create(&path).with_context(|| format!("creating {}", path.display()))
    }

    fn lock(&self, digest: &str) -> Result<File> {
        let file = self.lock_file(digest)?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).context("locking a cache entry"),
        }
        let entry = self.dir.join(digest);
        crate::step::say(&format!("waiting for another process that makes {}", entry.display()));
        file.lock().context("locking a cache entry")?;
        Ok(file)
    }

    /// Removes what crashed runs left of other entries of this kind.
    fn sweep(&self) -> Result<()> {
        for found in fs::read_dir(&self.dir).context("listing the cache")? {
            let name = found.context("listing the cache")?.file_name();
            let Some(digest) = unfinished_digest(&name) else { continue };
            // A lock that is free means that nobody is making it. It is held while removing.
            let lock = self.lock_file(digest)?;
            if lock.try_lock().is_ok() {
                remove(&self.unfinished(digest))?;
            }
        }
        Ok(())
    }
}

fn unfinished_digest(name: &OsStr) -> Option<&str> {
    name.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("removing {}: {error}", dir.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
