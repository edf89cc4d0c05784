// SPDX-License-Identifier: Apache-2.0
//! The Kubernetes objects that matter here.
//!
//! Owns KubeArmorPolicy with every field that upstream's schema has, and of Pod and Namespace what
//! selection needs. Untyped values flow in, typed objects flow out; an unknown field of a policy is
//! an error, since a typing error in a rule must not go unseen. It gives no field a meaning.

mod decode;
mod list;
mod metadata;
mod nulls;
mod pod;
mod policy;
mod sections;

use std::fmt;

pub use decode::{
    DEFAULT_NAMESPACE, InvalidObject, KUBEARMOR_GROUP, decode, identify, selector_of,
};
pub use list::items;
pub use metadata::{Metadata, is_metadata};
pub use pod::{ContainerName, Namespace, Pod, PodSpec};
pub use policy::{KubeArmorPolicy, MatchExpression, Operator, PolicySpec, Selector, SpecAction};
pub use sections::{
    Action, Attributes, Capabilities, CapabilityRule, DnsRule, File, FileDirectory, FilePath,
    FilePattern, Network, Preset, Process, ProcessDirectory, ProcessPath, ProcessPattern,
    ProtocolRule, SourceOfSyscall, SourcePath, SyscallPath, SyscallRule, Syscalls,
};

/// An object of a supported kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A policy.
    Policy(Box<KubeArmorPolicy>),
    /// A pod.
    Pod(Box<Pod>),
    /// A namespace.
    Namespace(Box<Namespace>),
}

/// A supported kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `security.kubearmor.com/v1` KubeArmorPolicy.
    Policy,
    /// `v1` Pod.
    Pod,
    /// `v1` Namespace.
    Namespace,
}

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

// === impl Object ===

impl Object {
    /// Kind and name.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        let (kind, metadata) = match self {
            Self::Policy(policy) => (Kind::Policy, &policy.metadata),
            Self::Pod(pod) => (Kind::Pod, &pod.metadata),
            Self::Namespace(namespace) => (Kind::Namespace, &namespace.metadata),
        };
        ObjectRef { kind, namespace: metadata.namespace.clone(), name: metadata.name.clone() }
    }
}

// === impl ObjectRef ===

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Policy => write!(f, "KubeArmorPolicy {}/{}", self.namespace, self.name),
            Kind::Pod => write!(f, "Pod {}/{}", self.namespace, self.name),
            Kind::Namespace => write!(f, "Namespace {}", self.name),
        }
    }
}
