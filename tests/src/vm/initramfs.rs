// SPDX-License-Identifier: Apache-2.0
//! The guest's initial file tree as cpio archives in the kernel's "newc" format.
//!
//! In: files of the host, bytes, links, each with its place in the guest. Out: one archive; the
//! kernel unpacks several that are put one behind the other, each compressed or not. Directories
//! above a file are made without being asked for.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};

/// A file to be in the guest at boot.
#[derive(Debug, Clone)]
pub struct GuestFile {
    path: String,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Copy(PathBuf, u32),
    Bytes(Vec<u8>, u32),
    Link(String),
}

// === impl GuestFile ===

impl GuestFile {
    /// A program of the host.
    #[must_use]
    pub fn program(path: &str, source: impl Into<PathBuf>) -> Self {
        Self { path: path.to_owned(), content: Content::Copy(source.into(), 0o755) }
    }

    /// Data of the host.
    #[must_use]
    pub fn data(path: &str, source: impl Into<PathBuf>) -> Self {
        Self { path: path.to_owned(), content: Content::Copy(source.into(), 0o644) }
    }

    /// Bytes with a mode.
    #[must_use]
    pub fn bytes(path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), content: Content::Bytes(bytes.into(), mode) }
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(path: &str, target: &str) -> Self {
        Self { path: path.to_owned(), content: Content::Link(target.to_owned()) }
    }
}

/// Writes one archive.
pub(crate) fn archive(files: &[GuestFile]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for file in files {
        archive.add(file).with_context(|| format!("pack {}", file.path))?;
    }
    trailer(&mut archive.out).context("end the archive")?;
    Ok(archive.out)
}

#[derive(Default)]
struct Archive {
    out: Vec<u8>,
    /// Also gives the inode numbers: the kernel would link files with equal ones.
    names: BTreeSet<String>,
}

// === impl Archive ===

impl Archive {
    fn add(&mut self, file: &GuestFile) -> Result<()> {
        let name = file.path.strip_prefix('/').context("not an absolute path")?;
        for above in Path::new(name).ancestors().skip(1) {
            ensure!(above.is_relative(), "not a plain path");
        }
        self.add_directories(name)?;
        match &file.content {
            Content::Copy(source, mode) => {
                let bytes =
                    fs::read(source).with_context(|| format!("read {}", source.display()))?;
                self.entry(name, ModeFileType::Regular, (*mode, &bytes))
            }
            Content::Bytes(bytes, mode) => self.entry(name, ModeFileType::Regular, (*mode, bytes)),
            Content::Link(target) => {
                self.entry(name, ModeFileType::Symlink, (0o777, target.as_bytes()))
            }
        }
    }

    fn add_directories(&mut self, name: &str) -> Result<()> {
        for (end, _) in name.match_indices('/') {
            if !self.names.contains(&name[..end]) {
                self.entry(&name[..end], ModeFileType::Directory, (0o755, &[]))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, (mode, bytes): (u32, &[u8])) -> Result<()> {
        ensure!(self.names.insert(name.to_owned()), "twice in the archive: /{name}");
        let size = u32::try_from(bytes.len()).context("too large for the format")?;
        let mut entry = NewcBuilder::new(name)
            .ino(u32::try_from(self.names.len()).context("too many files")?)
            .mode(mode)
            .set_mode_file_type(kind)
            .write(&mut self.out, size);
        entry.write_all(bytes)?;
        entry.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::NewcReader;

    #[test]
    fn directories_come_before_their_files_and_once() {
        let files = [
            GuestFile::bytes("/a/b/one", 0o600, "1"),
            GuestFile::link("/a/two", "b/one"),
            GuestFile::bytes("/init", 0o755, ""),
        ];
        let bytes = archive(&files).unwrap();
        let mut left = bytes.as_slice();
        let mut seen = Vec::new();
        loop {
            let entry = NewcReader::new(left).unwrap();
            if entry.entry().is_trailer() {
                break;
            }
            seen.push((entry.entry().name().to_owned(), entry.entry().mode()));
            left = entry.finish().unwrap();
        }
        let expected = [
            ("a", 0o040_755),
            ("a/b", 0o040_755),
            ("a/b/one", 0o100_600),
            ("a/two", 0o120_777),
            ("init", 0o100_755),
        ];
        assert_eq!(seen, expected.map(|(name, mode)| (name.to_owned(), mode)));
    }

    #[test]
    fn a_name_given_twice_or_relative_is_an_error() {
        let twice = [GuestFile::link("/a", "b"), GuestFile::link("/a", "c")];
        assert!(archive(&twice).is_err());
        assert!(archive(&[GuestFile::link("a", "b")]).is_err());
    }
}
