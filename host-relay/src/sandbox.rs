// SPDX-License-Identifier: Apache-2.0
//! Sandboxes: where a guest is reached and which containers it has.
//!
//! Addresses come from the command line, containers from the guest's reports. It opens nothing.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use kadapter_proto::{guest::v1 as pb, policy::v1 as policy};
use policy_model::{Digest, Generation, Target, wire};

/// Port of the agent in a guest.
pub const AGENT_PORT: u32 = 1034;

/// Containers of one guest that are followed, ended ones with rule sets included. The engine has 256
/// slots; a guest that names more invents them.
pub const MAX_TARGETS: usize = 1024;

/// Bytes of a container's id: those of containerd and CRI-O have 64, an agent takes 128.
pub(crate) const MAX_ID_BYTES: usize = 128;

/// Where the agent of a sandbox is reached; also the sandbox's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// AF_VSOCK behind a UNIX socket of the hypervisor.
    HybridVsock {
        /// The socket.
        path: PathBuf,
        /// Port in the guest.
        port: u32,
    },
    /// AF_VSOCK of the host.
    Vsock {
        /// Context id of the guest.
        cid: u32,
        /// Port in the guest.
        port: u32,
    },
    /// A UNIX socket that the agent itself listens on.
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address of a sandbox; write hvsock:///PATH[:PORT], vsock://CID[:PORT] or unix:///PATH"
)]
pub struct InvalidAddress(String);

/// State of a container that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// At the gate; no rule set for it yet.
    Waiting,
    /// Rules are in force; it may run.
    Registered,
    /// It runs.
    Started,
}

/// A container of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The container by name.
    pub target: Target,
    /// Its state.
    pub state: ContainerState,
    /// What the guest said is in force when the state was reported.
    pub in_force: Option<(Generation, Digest)>,
}

/// Containers of one guest, by id. Those that ended are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    by_id: BTreeMap<String, Container>,
}

/// Why a report of the guest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReport {
    /// A state that this build does not know.
    #[error("container state {0} is unknown; the guest is newer, upgrade the relay")]
    State(i32),
    /// A digest of another length.
    #[error("a digest has {0} bytes instead of 32")]
    Digest(usize),
    /// A target that Kubernetes could not have named.
    #[error(transparent)]
    Target(#[from] wire::InvalidRuleSet),
    /// A name that would forge lines of the log.
    #[error("a name of a container has control characters: {0:?}")]
    Name(String),
    /// An id that no runtime gives.
    #[error("an id of a container has {0} bytes; it may have {MAX_ID_BYTES}")]
    Id(usize),
    /// More containers than a guest can have.
    #[error("the guest names more than {MAX_TARGETS} containers")]
    TooMany,
}

// === impl Address ===

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.into());
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        if scheme == "unix" && rest.starts_with('/') {
            return Ok(Self::Unix { path: rest.into() });
        }
        let (place, port) = match rest.rsplit_once(':') {
            Some((place, port)) => (place, port.parse().map_err(|_| invalid())?),
            None => (rest, AGENT_PORT),
        };
        match scheme {
            "hvsock" if place.starts_with('/') => {
                Ok(Self::HybridVsock { path: place.into(), port })
            }
            "vsock" => Ok(Self::Vsock { cid: place.parse().map_err(|_| invalid())?, port }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HybridVsock { path, port } => write!(f, "hvsock://{}:{port}", path.display()),
            Self::Vsock { cid, port } => write!(f, "vsock://{cid}:{port}"),
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
        }
    }
}

// === impl ContainerState ===

impl From<ContainerState> for pb::ContainerState {
    fn from(state: ContainerState) -> Self {
        match state {
            ContainerState::Waiting => Self::Waiting,
            ContainerState::Registered => Self::Registered,
            ContainerState::Started => Self::Started,
        }
    }
}

// === impl Containers ===

impl Containers {
    /// Takes one report of the guest and gives the container that it is about, if it exists now.
    ///
    /// # Errors
    /// If the report has no meaning here.
    pub fn update(
        &mut self,
        change: pb::ContainerChange,
    ) -> Result<Option<&Container>, InvalidReport> {
        let state = match pb::ContainerState::try_from(change.state) {
            Ok(pb::ContainerState::Waiting) => ContainerState::Waiting,
            Ok(pb::ContainerState::Registered) => ContainerState::Registered,
            Ok(pb::ContainerState::Started) => ContainerState::Started,
            Ok(pb::ContainerState::Exited | pb::ContainerState::Refused) => {
                self.by_id.remove(&change.container_id);
                return Ok(None);
            }
            Ok(pb::ContainerState::Unspecified) | Err(_) => {
                return Err(InvalidReport::State(change.state));
            }
        };
        if change.container_id.len() > MAX_ID_BYTES {
            return Err(InvalidReport::Id(change.container_id.len()));
        }
        let container = Container {
            target: target(change.target)?,
            state,
            in_force: in_force(change.generation, &change.digest)?,
        };
        if self.by_id.len() >= MAX_TARGETS && !self.by_id.contains_key(&change.container_id) {
            return Err(InvalidReport::TooMany);
        }
        let slot = self.by_id.entry(change.container_id).insert_entry(container);
        Ok(Some(slot.into_mut()))
    }

    /// All of them, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Container)> {
        self.by_id.iter().map(|(id, container)| (id.as_str(), container))
    }
}

/// A container's name as messages carry it.
///
/// # Errors
/// If Kubernetes could not have given it.
pub fn target(message: Option<policy::Target>) -> Result<Target, InvalidReport> {
    let target = wire::target_from_wire(message.unwrap_or_default())?;
    let Target { namespace, pod, pod_uid, container_name } = &target;
    for name in [namespace, pod, pod_uid, container_name] {
        if name.chars().any(char::is_control) {
            return Err(InvalidReport::Name(name.clone()));
        }
    }
    Ok(target)
}

/// Generation and digest as messages carry them; an empty digest is nothing in force.
///
/// # Errors
/// If the digest has another length than digests have.
pub fn in_force(
    generation: u64,
    digest: &[u8],
) -> Result<Option<(Generation, Digest)>, InvalidReport> {
    if digest.is_empty() {
        return Ok(None);
    }
    let digest = digest.try_into().map_err(|_| InvalidReport::Digest(digest.len()))?;
    Ok(Some((Generation(generation), Digest(digest))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for text in
            ["hvsock:///run/v.sock:99", "vsock://3:1034", "unix:///run/agent.sock", "unix:///a:b"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let default = "hvsock:///run/v.sock".parse::<Address>().unwrap();
        assert_eq!(default.to_string(), "hvsock:///run/v.sock:1034");
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in
            ["", "/run/v.sock", "hvsock://v.sock:1", "vsock://x:1", "vsock://3:x", "tcp://a:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    fn change(id: &str, state: pb::ContainerState) -> pb::ContainerChange {
        pb::ContainerChange {
            container_id: id.into(),
            state: state.into(),
            ..pb::ContainerChange::default()
        }
    }

    #[test]
    fn containers_that_ended_are_left_out() {
        let mut containers = Containers::default();
        assert!(containers.update(change("a", pb::ContainerState::Waiting)).unwrap().is_some());
        assert!(containers.update(change("a", pb::ContainerState::Exited)).unwrap().is_none());
        assert_eq!(containers, Containers::default());
    }

    #[test]
    fn a_name_with_control_characters_is_an_error() {
        let mut forged = change("a", pb::ContainerState::Waiting);
        forged.target = Some(policy::Target { pod: "a\nb".into(), ..policy::Target::default() });
        assert!(matches!(Containers::default().update(forged), Err(InvalidReport::Name(_))));
    }

    #[test]
    fn an_id_that_no_runtime_gives_is_an_error() {
        let mut containers = Containers::default();
        let change = |bytes| change(&"a".repeat(bytes), pb::ContainerState::Waiting);
        assert!(containers.update(change(MAX_ID_BYTES)).is_ok());
        let error = containers.update(change(MAX_ID_BYTES + 1)).unwrap_err();
        assert_eq!(error.to_string(), "an id of a container has 129 bytes; it may have 128");
    }

    #[test]
    fn an_invented_number_of_containers_is_an_error() {
        let mut containers = Containers::default();
        for number in 0..MAX_TARGETS {
            let change = change(&number.to_string(), pb::ContainerState::Waiting);
            assert!(containers.update(change).is_ok());
        }
        let more = change("more", pb::ContainerState::Waiting);
        assert!(matches!(containers.update(more), Err(InvalidReport::TooMany)));
    }

    #[test]
    fn an_unknown_state_is_an_error() {
        let mut unknown = change("a", pb::ContainerState::Waiting);
        unknown.state = 99;
        assert!(matches!(Containers::default().update(unknown), Err(InvalidReport::State(99))));
    }
}
