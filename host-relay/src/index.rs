// SPDX-License-Identifier: Apache-2.0
//! Which containers a change concerns.
//!
//! Owns the objects that are known and the containers that each guest has. Batches of changes and
//! lists of containers flow in; the affected containers, and all that the pipeline needs for one of
//! them, flow out. It is pure: no task, no clock, no policy language beyond selection.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kubesmith::{
    crd::{Kind, KubeArmorPolicy, Namespace, Object, ObjectRef, Pod},
    select::{self, Enrolment},
};
use policy_model::Target;

use crate::{
    sandbox::Address,
    watch::{Batch, Change, Refusal, Scope},
};

/// A container of a sandbox.
pub type Place = (Address, Target);

/// A policy and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The object.
    pub object: Arc<KubeArmorPolicy>,
    /// Where it was read.
    pub origin: String,
}

/// Namespace and name.
type Name = (String, String);

/// What is known.
#[derive(Debug, Default)]
pub struct Index {
    policies: BTreeMap<Name, Policy>,
    pods: BTreeMap<Name, Pod>,
    namespaces: BTreeMap<String, Namespace>,
    refusals: Vec<Refusal>,
    containers: BTreeMap<Address, BTreeSet<Target>>,
}

/// All that decides about the rules of one container.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The container.
    pub target: &'a Target,
    /// Its pod.
    pub pod: &'a Pod,
    /// Its namespace, if known.
    pub namespace: Option<&'a Namespace>,
    /// The policies that select it.
    pub policies: Vec<&'a KubeArmorPolicy>,
}

/// Why a container has no inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoInputs {
    /// Nobody knows its labels.
    #[error(
        "pod {namespace}/{pod} is not known here; nothing is sent, its containers may not start"
    )]
    UnknownPod {
        /// Namespace.
        namespace: String,
        /// Pod.
        pod: String,
    },
    /// A pod of this name is known, but it is another one.
    #[error(
        "pod {namespace}/{pod} is known with uid {known}, the guest has {guest}; nothing is sent"
    )]
    OtherPod {
        /// Namespace.
        namespace: String,
        /// Pod.
        pod: String,
        /// Uid of the known pod.
        known: String,
        /// Uid that the guest was told.
        guest: String,
    },
    /// A refused document might be about it.
    #[error("held back until this is mended: {0}")]
    Held(String),
}

// === impl Index ===

impl Index {
    /// Takes a batch and gives the containers that it concerns.
    pub fn apply(&mut self, batch: Batch) -> BTreeSet<Place> {
        let mut affected = BTreeSet::new();
        for change in batch.changes {
            let object = change.object();
            // Whom the old version selected loses it, whom the new one selects gets it.
            affected.extend(self.concerned(&object));
            self.change(change);
            affected.extend(self.concerned(&object));
        }
        if batch.refusals != self.refusals {
            affected.extend(self.held_places());
            self.refusals = batch.refusals;
            affected.extend(self.held_places());
        }
        affected
    }

    /// Takes the containers that a guest has now and gives those that it did not have before.
    pub fn set_containers(
        &mut self,
        address: Address,
        containers: BTreeSet<Target>,
    ) -> BTreeSet<Place> {
        let before = self.containers.get(&address);
        let is_new = |target: &&Target| before.is_none_or(|before| !before.contains(*target));
        let new = containers.iter().filter(is_new).map(|target| (address.clone(), target.clone()));
        let new = new.collect();
        self.containers.insert(address, containers);
        new
    }

    /// All that decides about the rules of a container.
    ///
    /// # Errors
    /// If nothing can be said about it now.
    pub fn inputs<'a>(&'a self, target: &'a Target) -> Result<Inputs<'a>, NoInputs> {
        let (namespace, pod) = (target.namespace.clone(), target.pod.clone());
        let Some(known) = self.pods.get(&(namespace.clone(), pod.clone())) else {
            return Err(NoInputs::UnknownPod { namespace, pod });
        };
        let uid = &known.metadata.uid;
        if !uid.is_empty() && !target.pod_uid.is_empty() && *uid != target.pod_uid {
            let (known, guest) = (uid.clone(), target.pod_uid.clone());
            return Err(NoInputs::OtherPod { namespace, pod, known, guest });
        }
        if let Some(refusal) = self.held(target) {
            return Err(NoInputs::Held(refusal.to_string()));
        }
        let policies = self.policies.values().map(|policy| &*policy.object);
        Ok(Inputs {
            target,
            pod: known,
            namespace: self.namespaces.get(&target.namespace),
            policies: policies.filter(|policy| self.selects(policy, target)).collect(),
        })
    }

    /// Every policy, with the containers that it selects.
    pub fn policies(&self) -> impl Iterator<Item = (&Policy, Vec<&Target>)> {
        self.policies.values().map(|policy| {
            let targets = self.places().map(|(_, target)| target);
            (policy, targets.filter(|target| self.selects(&policy.object, target)).collect())
        })
    }

    /// Every pod.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// A namespace, if it is known.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(name)
    }

    /// What is refused now.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Put { object: Object::Policy(policy), origin } => {
                let name = (policy.metadata.namespace.clone(), policy.metadata.name.clone());
                self.policies.insert(name, Policy { object: Arc::new(*policy), origin });
            }
            Change::Put { object: Object::Pod(pod), .. } => {
                let name = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
                self.pods.insert(name, *pod);
            }
            Change::Put { object: Object::Namespace(namespace), .. } => {
                self.namespaces.insert(namespace.metadata.name.clone(), *namespace);
            }
            Change::Gone(ObjectRef { kind, namespace, name }) => match kind {
                Kind::Policy => drop(self.policies.remove(&(namespace, name))),
                Kind::Pod => drop(self.pods.remove(&(namespace, name))),
                Kind::Namespace => drop(self.namespaces.remove(&name)),
            },
        }
    }

    fn concerned(&self, object: &ObjectRef) -> Vec<Place> {
        let policy = self.policies.get(&(object.namespace.clone(), object.name.clone()));
        let concerns = |target: &Target| match object.kind {
            Kind::Policy => policy.is_some_and(|policy| self.selects(&policy.object, target)),
            Kind::Pod => (&target.namespace, &target.pod) == (&object.namespace, &object.name),
            Kind::Namespace => target.namespace == object.name,
        };
        let places = self.places().filter(|(_, target)| concerns(target));
        places.map(|(address, target)| (address.clone(), target.clone())).collect()
    }

    fn selects(&self, policy: &KubeArmorPolicy, target: &Target) -> bool {
        let pod = self.pods.get(&(target.namespace.clone(), target.pod.clone()));
        pod.is_some_and(|pod| select::selects(policy, pod, &target.container_name))
    }

    fn held(&self, target: &Target) -> Option<&Refusal> {
        let pod = self.pods.get(&(target.namespace.clone(), target.pod.clone()))?;
        if select::enrolment(pod) == Enrolment::Disabled {
            return None;
        }
        self.refusals.iter().find(|refusal| match &refusal.scope {
            Scope::Nothing => false,
            Scope::Pods { namespaces, selector } => {
                namespaces.has(&target.namespace)
                    && select::matches(selector, &pod.metadata, &target.container_name)
            }
            Scope::Everything => true,
        })
    }

    fn held_places(&self) -> Vec<Place> {
        let held = self.places().filter(|(_, target)| self.held(target).is_some());
        held.map(|(address, target)| (address.clone(), target.clone())).collect()
    }

    fn places(&self) -> impl Iterator<Item = (&Address, &Target)> {
        let of_sandbox = |(address, targets)| {
            let targets: &BTreeSet<Target> = targets;
            targets.iter().map(move |target| (address, target))
        };
        self.containers.iter().flat_map(of_sandbox)
    }
}

#[cfg(test)]
mod tests;
