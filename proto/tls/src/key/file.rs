// SPDX-License-Identifier: Apache-2.0
//! Private keys on file systems: nobody but the owner may read them, and none is ever overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{InvalidKey, PrivateKey};

/// The largest key that is used, RSA with 8192 bits, has 6.5 KiB in PEM.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// Everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why there is no key in a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadKeyError {
    /// The file.
    #[error("cannot read the key `{path}`")]
    File {
        /// Its path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Its owner is not alone.
    #[error(
        "the key `{path}` may be read by others (mode {mode:03o}); `chmod 600` it, and make a new \
         one if others had access"
    )]
    Exposed {
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What is in it.
    #[error("`{path}`")]
    Invalid {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidKey,
    },
}

/// Why a key was not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a new key to `{path}`")]
pub struct WriteKeyError {
    path: PathBuf,
    source: io::Error,
}

/// Reads a key in PEM.
///
/// # Errors
/// If it is not there, is no key, or others may read it too.
pub fn read(path: &Path) -> Result<PrivateKey, ReadKeyError> {
    let file = |source| ReadKeyError::File { path: path.to_owned(), source };
    let opened = File::open(path).map_err(file)?;
    let mode = opened.metadata().map_err(file)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(ReadKeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut pem = Vec::new();
    opened.take(MAX_FILE_BYTES).read_to_end(&mut pem).map_err(file)?;
    PrivateKey::from_pem(&pem)
        .map_err(|source| ReadKeyError::Invalid { path: path.to_owned(), source })
}

/// Writes a key in PEM, whole or not at all.
///
/// # Errors
/// If the file exists, or the kernel refuses.
pub fn write_new(path: &Path, key: &PrivateKey) -> Result<(), WriteKeyError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // Of a process that was killed, with the same id.
    let _ = fs::remove_file(&beside);
    let written = write(&beside, key).and_then(|()| fs::hard_link(&beside, path));
    // What is left of an attempt is nobody's.
    let _ = fs::remove_file(&beside);
    written.map_err(|source| WriteKeyError { path: path.to_owned(), source })
}

fn write(path: &Path, key: &PrivateKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.to_pem().as_bytes())?;
    file.sync_all()
}

// === impl ReadKeyError ===

impl ReadKeyError {
    /// Whether there is no file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

// === impl WriteKeyError ===

impl WriteKeyError {
    /// Whether there is a file already.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_key_is_the_owners_alone_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        assert!(read(&path).unwrap_err().is_missing());
        let key = PrivateKey::generate().unwrap();
        write_new(&path, &key).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_new(&path, &PrivateKey::generate().unwrap()).unwrap_err().is_taken());
        assert_eq!(read(&path).unwrap().fingerprint(), key.fingerprint());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        write_new(&path, &PrivateKey::generate().unwrap()).unwrap();
        for mode in [0o640, 0o604] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(
                error.contains("chmod 600") && error.contains(&format!("{mode:03o}")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        fs::write(&path, "no key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path), Err(ReadKeyError::Invalid { .. })));
    }
}
