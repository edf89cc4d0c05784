// SPDX-License-Identifier: Apache-2.0
//! Keeps what every container should have equal to what the objects say.
//!
//! One task that owns the index. Batches come from the watcher, lists of containers from the
//! sessions; desired states go to the sessions, and the view of policies to the API, through watch
//! channels. Nothing goes out before the first batch: no policies yet is not "no policies". What
//! changes within one save is one change, and containers that come meanwhile wait for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kubesmith::{
    Finding, PolicyRef,
    crd::{Kind, Object, ObjectRef},
    resolve::policy_ref,
};
use policy_model::Target;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{debug, error, info, warn};

use crate::{
    index::{Index, NoInputs, Place},
    pipeline::{self, Defaults},
    sandbox::Address,
    settle::Settle,
    status::{Desired, PolicyView, Wanted},
    watch::{Batch, Change},
};

/// Containers that a guest has now.
pub type ContainersReport = (Address, BTreeSet<Target>);

/// Where the task's results go.
#[derive(Debug)]
pub struct Outputs {
    /// What the containers of each sandbox should have.
    pub desired: BTreeMap<Address, watch::Sender<Desired>>,
    /// Policies.
    pub policies: watch::Sender<Arc<Vec<PolicyView>>>,
}

/// Where its inputs come from.
#[derive(Debug)]
pub struct Sources {
    /// Objects.
    pub batches: mpsc::Receiver<Batch>,
    /// Containers.
    pub containers: mpsc::Receiver<ContainersReport>,
}

struct Reconciler {
    index: Index,
    /// Why a policy makes no rules, whatever it selects.
    problems: BTreeMap<ObjectRef, String>,
    /// Findings that are in the log, each with what it is about if that is no policy.
    told: BTreeSet<(String, Finding)>,
    defaults: Defaults,
    outputs: Outputs,
}

/// Runs until no objects can come any more.
pub async fn run(mut sources: Sources, defaults: Defaults, outputs: Outputs) {
    let mut reconciler = Reconciler {
        index: Index::default(),
        problems: BTreeMap::new(),
        told: BTreeSet::new(),
        defaults,
        outputs,
    };
    let mut settle = Settle::default();
    loop {
        // Of a rush of reports, once: each view is about all containers.
        if sources.batches.is_empty() && sources.containers.is_empty() && !settle.holds() {
            reconciler.publish_policies();
        }
        let due = settle.due();
        let is_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            batch = sources.batches.recv() => match batch {
                Some(batch) => settle.take(batch, Instant::now()),
                None => return,
            },
            () = is_due => {
                if let Some(batch) = settle.release(Instant::now()) {
                    reconciler.take_batch(batch);
                }
            }
            report = sources.containers.recv(), if !settle.holds() => match report {
                Some(report) => reconciler.take_containers(report),
                None => return,
            },
        }
    }
}

// === impl Reconciler ===

impl Reconciler {
    fn take_batch(&mut self, batch: Batch) {
        debug!(changes = batch.changes.len(), refusals = batch.refusals.len(), "objects changed");
        for change in &batch.changes {
            self.judge(change);
            self.forget(&change.object());
        }
        let affected = self.index.apply(batch);
        self.publish(affected);
    }

    fn take_containers(&mut self, (address, containers): ContainersReport) {
        let affected = self.index.set_containers(address.clone(), containers.clone());
        if let Some(desired) = self.outputs.desired.get(&address) {
            // Nobody needs to hear of it: sessions look only at the containers that they have.
            desired.send_if_modified(|desired| {
                let gone = desired.keys().any(|target| !containers.contains(target));
                if gone {
                    Arc::make_mut(desired).retain(|target, _| containers.contains(target));
                }
                false
            });
        }
        self.publish(affected);
    }

    fn publish(&mut self, affected: BTreeSet<Place>) {
        let mut by_sandbox: BTreeMap<Address, Vec<(Target, Wanted)>> = BTreeMap::new();
        for (address, target) in affected {
            let wanted = self.wanted(&target);
            by_sandbox.entry(address).or_default().push((target, wanted));
        }
        for (address, changes) in by_sandbox {
            if let Some(desired) = self.outputs.desired.get(&address) {
                desired.send_modify(|desired| Arc::make_mut(desired).extend(changes));
            }
        }
    }

    fn wanted(&mut self, target: &Target) -> Wanted {
        let inputs = match self.index.inputs(target) {
            Ok(inputs) => inputs,
            Err(reason @ (NoInputs::UnknownPod { .. } | NoInputs::OtherPod { .. })) => {
                warn!(container = %target, "{reason}");
                return Err(reason.to_string());
            }
            Err(reason @ NoInputs::Held(_)) => {
                error!(container = %target, "{reason}");
                return Err(reason.to_string());
            }
        };
        match pipeline::run(&inputs, &self.defaults) {
            Ok(plan) => {
                self.tell(target, &plan.findings);
                Ok(Arc::new(plan))
            }
            Err(problem) => {
                error!(container = %target, "{problem}; what is in force stays in force");
                Err(problem.to_string())
            }
        }
    }

    /// Once for each policy, however many containers it selects.
    fn tell(&mut self, container: &Target, findings: &[Finding]) {
        for finding in findings {
            let about = match finding.policy {
                Some(_) => String::new(),
                None => format!("{}/{}", container.namespace, container.pod),
            };
            if !self.told.insert((about, finding.clone())) {
                continue;
            }
            if finding.code.is_remark() {
                info!(%container, "{finding}");
            } else {
                warn!(%container, "{finding}");
            }
        }
    }

    /// What is told of an object is told anew when it changes, and all that is told of no policy.
    fn forget(&mut self, object: &ObjectRef) {
        let is_of = |policy: &PolicyRef| {
            object.kind == Kind::Policy
                && (&policy.namespace, &policy.name) == (&object.namespace, &object.name)
        };
        let prefix = match object.kind {
            Kind::Policy => {
                return self.told.retain(|(_, it)| !it.policy.as_ref().is_some_and(is_of));
            }
            Kind::Pod => format!("{}/{}", object.namespace, object.name),
            Kind::Namespace => format!("{}/", object.name),
        };
        self.told.retain(|(about, _)| !about.starts_with(&prefix));
    }

    fn judge(&mut self, change: &Change) {
        match change {
            Change::Put { object, origin } => {
                let problem = match object {
                    Object::Policy(policy) => pipeline::judge(policy, &self.defaults).err(),
                    Object::Pod(_) | Object::Namespace(_) => None,
                };
                match problem {
                    Some(problem) => {
                        error!("{origin}: {problem}; what is in force stays in force");
                        self.problems.insert(object.reference(), problem.to_string());
                    }
                    None => drop(self.problems.remove(&object.reference())),
                }
            }
            Change::Gone(object) => drop(self.problems.remove(object)),
        }
    }

    fn publish_policies(&self) {
        let mut views: BTreeMap<ObjectRef, PolicyView> = BTreeMap::new();
        for (policy, selects) in self.index.policies() {
            let object =
                policy_object(&policy.object.metadata.namespace, &policy.object.metadata.name);
            let view = PolicyView {
                policy: policy_ref(&policy.object),
                origin: policy.origin.clone(),
                selects: selects.into_iter().cloned().collect(),
                error: self.problems.get(&object).cloned().unwrap_or_default(),
            };
            views.insert(object, view);
        }
        for refusal in self.index.refusals() {
            let object = refusal.object.as_ref().filter(|object| object.kind == Kind::Policy);
            if let Some(object) = object {
                let view = views.entry(object.clone());
                view.or_insert_with(|| unread(object, &refusal.origin)).error = refusal.to_string();
            }
        }
        self.outputs.policies.send_replace(Arc::new(views.into_values().collect()));
    }
}

fn policy_object(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::Policy, namespace: namespace.into(), name: name.into() }
}

/// The view of a policy of which no version was ever good.
fn unread(object: &ObjectRef, origin: &str) -> PolicyView {
    let (namespace, name) = (object.namespace.clone(), object.name.clone());
    PolicyView {
        policy: PolicyRef { namespace, name, uid: String::new() },
        origin: origin.into(),
        selects: Vec::new(),
        error: String::new(),
    }
}

#[cfg(test)]
mod tests;
