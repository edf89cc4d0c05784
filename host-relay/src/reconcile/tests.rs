// SPDX-License-Identifier: Apache-2.0
//! Tests of what containers are told while objects change, with a clock that stands still.

use kubesmith::crd;
use serde_json::{Value, json};

use super::*;
use crate::settle;

struct Rig {
    batches: mpsc::Sender<Batch>,
    containers: mpsc::Sender<ContainersReport>,
    desired: watch::Receiver<Desired>,
}

// === impl Rig ===

impl Rig {
    fn start() -> Self {
        let (batches, batches_out) = mpsc::channel(8);
        let (containers, containers_out) = mpsc::channel(8);
        let desired = watch::Sender::new(Arc::default());
        let rig = Self { batches, containers, desired: desired.subscribe() };
        let outputs = Outputs {
            desired: BTreeMap::from([(address(), desired)]),
            policies: watch::Sender::new(Arc::default()),
        };
        let sources = Sources { batches: batches_out, containers: containers_out };
        tokio::spawn(run(sources, Defaults::default(), outputs));
        rig
    }

    async fn change(&self, changes: Vec<Change>) {
        self.batches.send(Batch { changes, refusals: Vec::new() }).await.unwrap();
    }

    async fn report(&self) {
        self.containers.send((address(), BTreeSet::from([target()]))).await.unwrap();
    }

    /// The number of rules that the container should have after that time, if it is told anything.
    async fn rules_after(&mut self, time: std::time::Duration) -> Option<usize> {
        tokio::time::sleep(time).await;
        if !self.desired.has_changed().unwrap() {
            return None;
        }
        let desired = self.desired.borrow_and_update().clone();
        Some(desired[&target()].as_ref().unwrap().compiled.rules.rules().len())
    }
}

fn address() -> Address {
    "unix:///a".parse().unwrap()
}

fn target() -> Target {
    Target {
        namespace: "n".into(),
        pod: "web".into(),
        container_name: "c".into(),
        ..Target::default()
    }
}

fn put(value: Value) -> Change {
    Change::Put { object: crd::decode(value).unwrap(), origin: "f.yaml".into() }
}

fn pod() -> Change {
    let metadata = json!({"name": "web", "namespace": "n"});
    put(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
}

fn policy(programs: usize) -> Change {
    let paths: Vec<_> = (0..programs).map(|at| json!({"path": format!("/bin/{at}")})).collect();
    put(json!({
        "apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy",
        "metadata": {"name": "p", "namespace": "n", "annotations": {"kadapter.io/level": "literal"}},
        "spec": {"process": {"matchPaths": paths}},
    }))
}

fn gone() -> Change {
    Change::Gone(policy(0).object())
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_goes_and_comes_back_is_never_absent_for_a_container() {
    let mut rig = Rig::start();
    rig.change(vec![pod(), policy(1)]).await;
    rig.report().await;
    assert_eq!(rig.rules_after(2 * settle::ABSENCE).await, Some(1));
    rig.change(vec![gone()]).await;
    assert_eq!(rig.rules_after(settle::ABSENCE / 2).await, None);
    rig.change(vec![policy(2)]).await;
    assert_eq!(rig.rules_after(2 * settle::ABSENCE).await, Some(2));
    rig.change(vec![gone()]).await;
    assert_eq!(rig.rules_after(2 * settle::ABSENCE).await, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_comes_within_a_change_waits_for_its_end() {
    let mut rig = Rig::start();
    rig.change(vec![pod(), policy(1)]).await;
    tokio::time::sleep(2 * settle::ABSENCE).await;
    rig.change(vec![gone()]).await;
    tokio::time::sleep(settle::PAUSE).await;
    rig.report().await;
    assert_eq!(rig.rules_after(settle::ABSENCE / 2).await, None);
    rig.change(vec![policy(2)]).await;
    assert_eq!(rig.rules_after(2 * settle::ABSENCE).await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_container_waits_at_the_start_until_nothing_changes() {
    let mut rig = Rig::start();
    rig.report().await;
    assert_eq!(rig.rules_after(10 * settle::ABSENCE).await, None);
    rig.change(vec![pod()]).await;
    tokio::time::sleep(settle::ABSENCE / 2).await;
    rig.change(vec![policy(1)]).await;
    assert_eq!(rig.rules_after(2 * settle::ABSENCE).await, Some(1));
}
