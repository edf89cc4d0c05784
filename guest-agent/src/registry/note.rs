// SPDX-License-Identifier: Apache-2.0
//! What is noted in the kernel of each container, for the agent that takes over.
//!
//! A container's facts become bytes and bytes become facts again. What a note says of a process is
//! believed only if that process was started when the note says.

use std::path::PathBuf;

use policy_model::{Digest, Generation, RulePath, Target};
use serde::{Deserialize, Serialize};

use super::InForce;
use crate::containers::{Cgroup, ContainerId, Init, InspectError, InvalidContainerId, Role};

/// A container in the words of a note.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContainerNote {
    id: String,
    sandbox: bool,
    namespace: String,
    pod: String,
    pod_uid: String,
    container_name: String,
    pub(super) pid: u32,
    started: u64,
    rootfs: Option<String>,
    cgroup: Option<CgroupNote>,
    generation: u64,
    digest: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CgroupNote {
    id: u64,
    directory: PathBuf,
}

/// What is noted.
pub(super) struct Facts<'a> {
    pub(super) id: &'a ContainerId,
    pub(super) role: &'a Role,
    pub(super) init: &'a Init,
    pub(super) rootfs: Option<&'a RulePath>,
    pub(super) cgroup: Option<&'a Cgroup>,
    pub(super) in_force: InForce,
}

/// Why a note is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidNote {
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(transparent)]
    Id(#[from] InvalidContainerId),
    #[error(transparent)]
    Process(#[from] InspectError),
    #[error("its process is another one now")]
    OtherProcess,
}

// === impl Facts ===

impl Facts<'_> {
    /// The bytes to keep.
    pub(super) fn encode(&self) -> Result<Vec<u8>, InvalidNote> {
        let Target { namespace, pod, pod_uid, container_name } = self.role.target().clone();
        let note = ContainerNote {
            id: self.id.as_str().to_owned(),
            sandbox: matches!(self.role, Role::Sandbox(_)),
            namespace,
            pod,
            pod_uid,
            container_name,
            pid: self.init.pid(),
            started: self.init.started()?,
            rootfs: self.rootfs.map(ToString::to_string),
            cgroup: self
                .cgroup
                .map(|cgroup| CgroupNote { id: cgroup.id, directory: cgroup.directory.clone() }),
            generation: self.in_force.generation.0,
            digest: self.in_force.digest.0,
        };
        Ok(serde_json::to_vec(&note)?)
    }
}

// === impl ContainerNote ===

impl ContainerNote {
    pub(super) fn decode(text: &[u8]) -> Result<Self, InvalidNote> {
        Ok(serde_json::from_slice(text)?)
    }

    pub(super) fn id(&self) -> Result<ContainerId, InvalidNote> {
        Ok(ContainerId::new(&self.id)?)
    }

    pub(super) fn role(&self) -> Role {
        let target = Target {
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            pod_uid: self.pod_uid.clone(),
            container_name: self.container_name.clone(),
        };
        if self.sandbox { Role::Sandbox(target) } else { Role::Workload(target) }
    }

    /// Its first process, if that is still the same.
    pub(super) fn init(&self) -> Result<Init, InvalidNote> {
        let init = Init::open(self.pid)?;
        if init.started()? == self.started { Ok(init) } else { Err(InvalidNote::OtherProcess) }
    }

    pub(super) fn rootfs(&self) -> Option<RulePath> {
        self.rootfs.as_ref().and_then(|path| RulePath::new(path.as_str()).ok())
    }

    pub(super) fn cgroup(&self) -> Option<Cgroup> {
        let note = self.cgroup.as_ref()?;
        Some(Cgroup { id: note.id, directory: note.directory.clone() })
    }

    /// The set in force: by the note, if the kernel says the same generation. A crash between
    /// switch and note leaves a digest of another set; none is like no set that a relay computes.
    pub(super) fn in_force(&self, generation: u64) -> InForce {
        let is_same = generation == self.generation;
        InForce {
            generation: Generation(generation),
            digest: if is_same { Digest(self.digest) } else { Digest::default() },
        }
    }
}
