// SPDX-License-Identifier: Apache-2.0
//! What a runtime says of a container, and what /proc adds to it.
//!
//! State of the OCI runtime specification flows in, [`Facts`] flow out. Bounded: both texts are
//! written by a runtime, but one that a pod's author configures in part.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::HookError;
use crate::{containers::Init, lifecycle::Facts};

/// Bytes of a state or of a config.json: annotations may have 256 KiB at Kubernetes, and a seccomp
/// profile has less.
const MAX_TEXT_BYTES: u64 = 4 * 1024 * 1024;

/// Annotations that say which container of which pod this is.
pub const ANNOTATIONS: [&str; 10] = [
    "io.kubernetes.cri.container-name",
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri.sandbox-id",
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.cri.sandbox-uid",
    "io.kubernetes.cri-o.ContainerName",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.cri-o.KubeName",
    "io.kubernetes.cri-o.Namespace",
];

/// The part of the state that is used.
#[derive(Clone, Debug, Deserialize)]
pub struct OciState {
    id: String,
    #[serde(default)]
    pid: Option<u32>,
    #[serde(default)]
    bundle: PathBuf,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The part of a bundle's config.json that is used.
#[derive(Debug, Deserialize)]
struct Config {
    root: ConfigRoot,
}

#[derive(Debug, Deserialize)]
struct ConfigRoot {
    path: PathBuf,
}

/// Why a container's description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidState {
    /// A text cannot be read.
    #[error("reading {what}: {source}")]
    Read {
        /// Which.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It is not what the specification says.
    #[error("{what}: {source}")]
    Malformed {
        /// Which.
        what: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// There is nothing to wait for.
    #[error("the state on stdin has no pid")]
    NoPid,
    /// The container's root is no text.
    #[error("the container's root `{0}` is not UTF-8")]
    NotUtf8(PathBuf),
}

// === impl OciState ===

impl OciState {
    /// Reads it to the end of the input.
    ///
    /// # Errors
    /// If it is no state, or too long for one.
    pub fn read(input: impl Read) -> Result<Self, InvalidState> {
        parse("the state on stdin", input)
    }

    /// The first process.
    ///
    /// # Errors
    /// If there is none.
    pub fn pid(&self) -> Result<u32, InvalidState> {
        self.pid.filter(|pid| *pid > 1).ok_or(InvalidState::NoPid)
    }

    /// What the agent is told while the process waits.
    pub(super) fn facts(&self, process: &Init) -> Result<Facts, HookError> {
        Ok(Facts {
            pid: Some(process.pid()),
            pid_ns: Some(process.namespace("pid")?),
            mnt_ns: Some(process.namespace("mnt")?),
            cgroup: Some(process.cgroup_path()?),
            rootfs: Some(self.rootfs()?),
            ..self.removed()
        })
    }

    /// What the agent is told when there is no process any more.
    #[must_use]
    pub fn removed(&self) -> Facts {
        let named = |key: &&str| Some(((*key).to_owned(), self.annotations.get(*key)?.clone()));
        Facts {
            id: self.id.clone(),
            sandbox_id: self.sandbox_id(),
            annotations: ANNOTATIONS.iter().filter_map(named).collect(),
            ..Facts::default()
        }
    }

    fn sandbox_id(&self) -> String {
        let keys = ["io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"];
        keys.iter().find_map(|key| self.annotations.get(*key)).cloned().unwrap_or_default()
    }

    /// Without links: the agent follows none.
    fn rootfs(&self) -> Result<String, InvalidState> {
        let path = self.bundle.join("config.json");
        let what = path.display().to_string();
        let unreadable = |source| InvalidState::Read { what: what.clone(), source };
        let config = File::open(&path).map_err(unreadable)?;
        let root = canonical(&root_path(&self.bundle, &what, config)?)?;
        root.into_os_string().into_string().map_err(|root| InvalidState::NotUtf8(root.into()))
    }
}

/// The container's root as the bundle's config.json names it.
///
/// # Errors
/// If the input is no such text, or too long for one.
pub fn root_path(bundle: &Path, what: &str, config: impl Read) -> Result<PathBuf, InvalidState> {
    let config: Config = parse(what, config)?;
    Ok(bundle.join(config.root.path))
}

fn canonical(path: &Path) -> Result<PathBuf, InvalidState> {
    fs::canonicalize(path)
        .map_err(|source| InvalidState::Read { what: path.display().to_string(), source })
}

fn parse<T: DeserializeOwned>(what: &str, input: impl Read) -> Result<T, InvalidState> {
    let mut text = Vec::new();
    let read = input.take(MAX_TEXT_BYTES + 1).read_to_end(&mut text);
    read.map_err(|source| InvalidState::Read { what: what.into(), source })?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        let source = io::Error::other(format!("more than {MAX_TEXT_BYTES} bytes"));
        return Err(InvalidState::Read { what: what.into(), source });
    }
    serde_json::from_slice(&text)
        .map_err(|source| InvalidState::Malformed { what: what.into(), source })
}
