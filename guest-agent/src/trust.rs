// SPDX-License-Identifier: Apache-2.0
//! Whom the agent obeys, and by which key relays know it.
//!
//! Fingerprints of relays flow in from the command line, else from the kernel's, which whoever
//! configures the sandbox writes and the guest cannot change; a [`Trust`] flows out, once. The
//! guest's own key is made at the first start of a boot and kept in a directory of the guest's
//! memory: an agent that starts again in the same boot shows the same one, because relays refuse
//! another. It never leaves the guest.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use session_tls::{
    Fingerprint, GenerateKeyError, InvalidFingerprint, InvalidRelayKeys, PrivateKey, ReadKeyError,
    RelayKeys, WriteKeyError, read, server_config, write_new,
};
use tokio_rustls::rustls::ServerConfig;

const COMMAND_LINE: &str = "/proc/cmdline";
const WORD: &str = "kadapter.relay_key=";

/// Who may connect.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Relays with a key that is configured, over TLS.
    Relays(Arc<ServerConfig>),
    /// Whoever reaches the port, in the clear. For tests.
    Anybody,
}

/// What trust is made from.
#[derive(Clone, Debug)]
pub struct TrustConfig {
    /// Keys of relays; those of the kernel's command line if empty.
    pub relay_keys: Vec<Fingerprint>,
    /// Where the guest's own key is kept.
    pub guest_key: PathBuf,
    /// Whether to do without all that.
    pub insecure_no_tls: bool,
}

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The kernel's command line is not there.
    #[error("reading {COMMAND_LINE}")]
    CommandLine(#[source] io::Error),
    /// It has something else for a key.
    #[error("`{WORD}` on the kernel's command line")]
    Fingerprint(#[from] InvalidFingerprint),
    /// No relay, or too many.
    #[error(transparent)]
    Relays(#[from] InvalidRelayKeys),
    /// The guest's key of this boot cannot be read.
    #[error(transparent)]
    Read(#[from] ReadKeyError),
    /// A new one cannot be made.
    #[error(transparent)]
    Generate(#[from] GenerateKeyError),
    /// Or not be kept.
    #[error(transparent)]
    Write(#[from] WriteKeyError),
    /// Nor its directory.
    #[error("the directory of the guest's key")]
    Directory(#[source] io::Error),
}

/// Finds out whom to trust.
///
/// # Errors
/// If no relay is configured, or the guest can have no key.
pub fn establish(config: TrustConfig) -> Result<Trust, TrustError> {
    let TrustConfig { relay_keys, guest_key, insecure_no_tls } = config;
    if insecure_no_tls {
        tracing::warn!("--insecure-no-tls: whoever reaches the port is obeyed; for tests only");
        return Ok(Trust::Anybody);
    }
    let relays = if relay_keys.is_empty() {
        configured(&fs::read_to_string(COMMAND_LINE).map_err(TrustError::CommandLine)?)?
    } else {
        RelayKeys::new(relay_keys)?
    };
    let key = key_of_this_boot(&guest_key)?;
    for relay in relays.iter() {
        tracing::info!(%relay, guest = %key.fingerprint(), "a relay with this key is obeyed");
    }
    Ok(Trust::Relays(Arc::new(server_config(&key, relays))))
}

/// The keys on a kernel's command line: any number of words, each with a list of keys.
///
/// # Errors
/// If one is malformed, there is none, or there are too many.
pub fn configured(command_line: &str) -> Result<RelayKeys, TrustError> {
    let lists = command_line.split_ascii_whitespace().filter_map(|word| word.strip_prefix(WORD));
    let keys = lists.flat_map(|list| list.split(',')).map(str::parse);
    Ok(RelayKeys::new(keys.collect::<Result<Vec<_>, _>>()?)?)
}

fn key_of_this_boot(path: &Path) -> Result<PrivateKey, TrustError> {
    match read(path) {
        Err(error) if error.is_missing() => {}
        found => return Ok(found?),
    }
    if let Some(directory) = path.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(TrustError::Directory)?;
    }
    let key = PrivateKey::generate()?;
    write_new(path, &key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason;

    fn pins() -> [Fingerprint; 2] {
        [Fingerprint::of(b"old"), Fingerprint::of(b"new")]
    }

    #[test]
    fn keys_are_words_of_the_kernels_command_line() {
        let [old, new] = pins();
        let both = RelayKeys::new([old, new]).unwrap();
        for words in [format!("{WORD}{old} {WORD}{new}"), format!("{WORD}{old},{new}")] {
            let line = format!("console=ttyS0 {words} lsm=bpf\n");
            assert_eq!(configured(&line).unwrap(), both, "{line}");
        }
        let one = configured(&format!("{WORD}{old}")).unwrap();
        assert_eq!(one, RelayKeys::new([old]).unwrap());
    }

    #[test]
    fn no_key_and_a_broken_key_are_refused_beside_a_good_one_too() {
        let [old, _] = pins();
        assert!(matches!(
            configured(&format!("x{WORD}{old}")),
            Err(TrustError::Relays(InvalidRelayKeys::None))
        ));
        for line in [format!("{WORD}{old} {WORD}x"), format!("{WORD}{old},"), WORD.into()] {
            let error = configured(&line).unwrap_err();
            let reason = reason::of(&error);
            assert!(reason.contains("command line") && reason.contains("64 hex"), "{reason}");
        }
    }

    #[test]
    fn an_agent_that_starts_again_in_the_same_boot_has_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/guest.key");
        let first = key_of_this_boot(&path).unwrap().fingerprint();
        assert_eq!(key_of_this_boot(&path).unwrap().fingerprint(), first);
        fs::remove_file(&path).unwrap();
        assert_ne!(key_of_this_boot(&path).unwrap().fingerprint(), first, "another boot");
    }

    #[test]
    fn a_key_that_is_broken_is_not_replaced_in_silence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guest.key");
        fs::write(&path, "").unwrap();
        assert!(key_of_this_boot(&path).is_err());
    }
}
