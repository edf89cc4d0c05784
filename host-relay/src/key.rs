// SPDX-License-Identifier: Apache-2.0
//! The relay's key, as an operator makes and looks at it: subcommands `keygen` and `pin`.

use std::path::Path;

use session_tls::{
    Fingerprint, GenerateKeyError, PrivateKey, ReadKeyError, WriteKeyError, read, write_new,
};

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// There is none.
    #[error(transparent)]
    Generate(#[from] GenerateKeyError),
    /// It could not be kept.
    #[error(transparent)]
    Write(#[from] WriteKeyError),
}

/// Writes a new key, and gives what guests know it by.
///
/// # Errors
/// If the file exists or cannot be written.
pub fn generate(path: &Path) -> Result<Fingerprint, KeygenError> {
    let key = PrivateKey::generate()?;
    write_new(path, &key)?;
    Ok(key.fingerprint())
}

/// What guests know a key by.
///
/// # Errors
/// If it cannot be read.
pub fn pin(path: &Path) -> Result<Fingerprint, ReadKeyError> {
    Ok(read(path)?.fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_of_a_new_key_is_told_again_and_the_key_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.key");
        let made = generate(&path).unwrap();
        assert_eq!(pin(&path).unwrap(), made);
        assert!(generate(&path).is_err());
        assert_eq!(pin(&path).unwrap(), made);
    }
}
