// SPDX-License-Identifier: Apache-2.0
//! What an artefact is made from.
//!
//! In: labelled bytes and files. Out: a digest that names the artefact, and a manifest that lets
//! a person compare two entries and see which input made them differ. Never: keeps the contents.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// Everything that decides what an artefact looks like. The order of calls counts.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    manifest: String,
}

// === impl Inputs ===

impl Inputs {
    /// No inputs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes under a label.
    #[must_use]
    pub fn bytes(mut self, label: &str, bytes: impl AsRef<[u8]>) -> Self {
        let digest = hex(&Sha256::digest(bytes.as_ref()));
        // Quoted, so that no label can look like two lines.
        let _ = writeln!(self.manifest, "{digest} {label:?}");
        self
    }

    /// Adds a file's content under a label; its path and times do not count.
    pub fn file(self, label: &str, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(self.bytes(label, bytes))
    }

    /// SHA-256 over the manifest, in hexadecimal.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.manifest.as_bytes()))
    }

    /// One line per input: digest and label.
    pub fn manifest(&self) -> &str {
        &self.manifest
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::Inputs;

    #[test]
    fn label_content_and_order_change_the_digest() {
        let inputs = Inputs::new().bytes("a", "1").bytes("b", "2");
        assert_eq!(inputs.digest(), Inputs::new().bytes("a", "1").bytes("b", "2").digest());
        assert_ne!(inputs.digest(), Inputs::new().bytes("b", "2").bytes("a", "1").digest());
        assert_ne!(inputs.digest(), Inputs::new().bytes("a", "1").bytes("c", "2").digest());
        assert_ne!(inputs.digest(), Inputs::new().bytes("a", "1").bytes("b", "3").digest());
    }

    #[test]
    fn content_does_not_leak_into_the_next_label() {
        let joined = Inputs::new().bytes("a", "xb").bytes("", "y");
        let split = Inputs::new().bytes("a", "x").bytes("b", "y");
        assert_ne!(joined.digest(), split.digest());
    }

    #[test]
    fn a_file_counts_by_its_content_alone() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            std::fs::write(dir.path().join(name), "same").unwrap();
        }
        let one = Inputs::new().file("f", &dir.path().join("one")).unwrap();
        let two = Inputs::new().file("f", &dir.path().join("two")).unwrap();
        assert_eq!(one.digest(), two.digest());
        assert_eq!(one.digest().len(), 64);
    }
}
