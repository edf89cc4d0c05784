// SPDX-License-Identifier: Apache-2.0
//! What the guest's kernel knows of a container: its first process, mounts, root and cgroup.
//!
//! Pids and paths flow in from the runtime, facts read from /proc flow out. Nothing here is
//! believed because a runtime says it, and nothing is changed: only read and opened.

pub(crate) mod aside;
pub mod cgroup;
pub mod exit;
pub mod mountinfo;
pub mod process;
pub mod root;

use std::{collections::BTreeMap, fmt};

use policy_model::{RulePath, Target};

pub use cgroup::Cgroup;
pub use process::{Init, InspectError};
pub use root::Root;

/// Bytes of a container id: containerd and CRI-O write 64.
const MAX_ID_BYTES: usize = 128;

/// A mount of a container, as the container names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// s_dev of the super block: major << 20 | minor.
    pub dev: u32,
    /// Path inside the super block that is mounted; none if it is no path that the engine matches,
    /// as of a namespace.
    pub root: Option<String>,
    /// Where in the container.
    pub point: RulePath,
    /// Name of the file system's type.
    pub fs_type: String,
    /// Whether an atomic writer replaces what is in it: rules name its links to files of a
    /// directory that has another name each time.
    pub atomic: bool,
}

/// The mounts of a container, as far as rules must hold on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    /// Tables of mounts, each in an order in which a later mount hides what is at or below its
    /// point: that of the registration, then that of now, if it differs.
    pub views: Vec<Vec<Mount>>,
    /// Why the table of now is not among them.
    pub unread: Option<String>,
}

/// Name that the runtime gave to a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

/// Why a text is no [`ContainerId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no container id: 1 to {MAX_ID_BYTES} letters, digits, `_`, `.` or `-`")]
pub struct InvalidContainerId(String);

/// What a container is in its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The pause container: it has no policies of its own.
    Sandbox(Target),
    /// A container that policies may name.
    Workload(Target),
}

/// Why annotations do not say which container of which pod this is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the container has no annotation `{0}`: no policy can name it; start it through a CRI")]
pub struct NoTarget(&'static str);

// === impl ContainerId ===

impl ContainerId {
    /// Takes a text that a runtime could have chosen.
    ///
    /// # Errors
    /// If it is empty, too long, or could be taken for a path.
    pub fn new(text: &str) -> Result<Self, InvalidContainerId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let named = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if named && text.len() <= MAX_ID_BYTES && text.chars().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidContainerId(text.chars().take(MAX_ID_BYTES).collect()))
        }
    }

    /// As the runtime wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Role ===

impl Role {
    /// Reads the annotations of containerd, then those of CRI-O.
    ///
    /// # Errors
    /// Names the first annotation that is missing from both.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<Self, NoTarget> {
        let get = |keys: [&'static str; 2]| {
            keys.iter().find_map(|key| annotations.get(*key)).filter(|text| !text.is_empty())
        };
        let need = |keys: [&'static str; 2]| get(keys).cloned().ok_or(NoTarget(keys[0]));
        let kind = need(["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"])?;
        let mut target = Target {
            namespace: need([
                "io.kubernetes.cri.sandbox-namespace",
                "io.kubernetes.cri-o.Namespace",
            ])?,
            pod: need(["io.kubernetes.cri.sandbox-name", "io.kubernetes.cri-o.KubeName"])?,
            // CRI-O passes no uid: its target matches by name alone.
            pod_uid: annotations.get("io.kubernetes.cri.sandbox-uid").cloned().unwrap_or_default(),
            container_name: String::new(),
        };
        if kind == "sandbox" {
            return Ok(Self::Sandbox(target));
        }
        target.container_name =
            need(["io.kubernetes.cri.container-name", "io.kubernetes.cri-o.ContainerName"])?;
        Ok(Self::Workload(target))
    }

    /// The container by name; a sandbox's has none for the container.
    #[must_use]
    pub fn target(&self) -> &Target {
        match self {
            Self::Sandbox(target) | Self::Workload(target) => target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn ids_cannot_be_taken_for_paths() {
        assert!(ContainerId::new("3f-a_b.c").is_ok());
        for text in ["", "..", ".hidden", "a/b", "a b", "-x", &"a".repeat(129)] {
            assert!(ContainerId::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn containerd_names_a_workload_with_the_uid_of_its_pod() {
        let role = Role::of(&annotations(&[
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.container-name", "web"),
            ("io.kubernetes.cri.sandbox-name", "shop-0"),
            ("io.kubernetes.cri.sandbox-namespace", "prod"),
            ("io.kubernetes.cri.sandbox-uid", "u-1"),
        ]));
        let Ok(Role::Workload(target)) = role else { panic!("{role:?}") };
        assert_eq!(
            (target.to_string().as_str(), target.pod_uid.as_str()),
            ("prod/shop-0/web", "u-1")
        );
    }

    #[test]
    fn crio_names_a_sandbox() {
        let role = Role::of(&annotations(&[
            ("io.kubernetes.cri-o.ContainerType", "sandbox"),
            ("io.kubernetes.cri-o.KubeName", "shop-0"),
            ("io.kubernetes.cri-o.Namespace", "prod"),
        ]));
        assert!(matches!(role, Ok(Role::Sandbox(target)) if target.pod == "shop-0"));
    }

    #[test]
    fn a_container_without_a_pod_cannot_be_named() {
        let role = Role::of(&annotations(&[("io.kubernetes.cri.container-type", "container")]));
        assert!(role.unwrap_err().to_string().contains("sandbox-namespace"));
    }
}
