// SPDX-License-Identifier: Apache-2.0
//! What selection needs of pods and namespaces. Other fields are somebody else's and pass unseen.

use serde::Deserialize;

use super::Metadata;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Pod {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// Its containers.
    #[serde(default)]
    pub spec: PodSpec,
}

/// Containers of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Runtime class.
    pub runtime_class_name: Option<String>,
    /// Containers.
    pub containers: Vec<ContainerName>,
    /// Containers that run before them.
    pub init_containers: Vec<ContainerName>,
    /// Containers added for debugging.
    pub ephemeral_containers: Vec<ContainerName>,
}

// === impl PodSpec ===

impl PodSpec {
    /// Names of all containers, of whatever kind.
    pub fn container_names(&self) -> impl Iterator<Item = &str> {
        self.all().map(|container| container.name.as_str())
    }

    /// Image of a container, if it has one of this name.
    #[must_use]
    pub fn image_of(&self, container: &str) -> Option<&str> {
        self.all().find(|it| it.name == container).map(|it| it.image.as_str())
    }

    fn all(&self) -> impl Iterator<Item = &ContainerName> {
        [&self.init_containers, &self.containers, &self.ephemeral_containers].into_iter().flatten()
    }
}

/// A container by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ContainerName {
    /// Name.
    pub name: String,
    /// Image.
    #[serde(default)]
    pub image: String,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// Name, labels and annotations.
    pub metadata: Metadata,
}
