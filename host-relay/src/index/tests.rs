// SPDX-License-Identifier: Apache-2.0
//! Tests of what a change concerns.

use kubesmith::{crd, select::Namespaces};
use serde_json::{Value, json};

use super::*;
use crate::watch::Position;

fn put(value: Value) -> Batch {
    let object = crd::decode(value).unwrap();
    let change = Change::Put { object, origin: "f.yaml".into() };
    Batch { changes: vec![change], refusals: Vec::new() }
}

fn pod(name: &str, app: &str) -> Batch {
    let metadata = json!({"name": name, "namespace": "n", "labels": {"app": app}, "uid": "u"});
    put(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
}

fn policy(name: &str, app: &str) -> Batch {
    put(json!({
        "apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy",
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
    }))
}

fn target(pod: &str) -> Target {
    Target {
        namespace: "n".into(),
        pod: pod.into(),
        container_name: "c".into(),
        ..Target::default()
    }
}

fn address() -> Address {
    "unix:///a".parse().unwrap()
}

fn refusal(scope: Scope) -> Batch {
    let (origin, message) = ("f".into(), "m".into());
    let refusal = Refusal { origin, position: Position::default(), object: None, message, scope };
    Batch { changes: Vec::new(), refusals: vec![refusal] }
}

/// Containers of the pods `web` and `db`, each labelled with its name.
fn index() -> Index {
    let mut index = Index::default();
    index.apply(pod("web", "web"));
    index.apply(pod("db", "db"));
    index.set_containers(address(), BTreeSet::from([target("web"), target("db")]));
    index
}

fn pods(affected: BTreeSet<Place>) -> Vec<String> {
    affected.into_iter().map(|(_, target)| target.pod).collect()
}

fn names(index: &Index, target: &Target) -> Vec<String> {
    let inputs = index.inputs(target).unwrap();
    inputs.policies.iter().map(|policy| policy.metadata.name.clone()).collect()
}

#[test]
fn a_policy_concerns_whom_it_selected_and_whom_it_selects() {
    let mut index = index();
    assert_eq!(pods(index.apply(policy("p", "web"))), ["web"]);
    assert_eq!(pods(index.apply(policy("p", "db"))), ["db", "web"]);
    assert_eq!(names(&index, &target("db")), ["p"]);
    assert!(names(&index, &target("web")).is_empty());
    let object = ObjectRef { kind: Kind::Policy, namespace: "n".into(), name: "p".into() };
    let gone = Batch { changes: vec![Change::Gone(object)], refusals: Vec::new() };
    assert_eq!(pods(index.apply(gone)), ["db"]);
}

#[test]
fn pods_and_namespaces_concern_their_containers() {
    let mut index = index();
    assert_eq!(pods(index.apply(pod("web", "db"))), ["web"]);
    let namespace =
        |name| put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    assert_eq!(pods(index.apply(namespace("n"))), ["db", "web"]);
    assert!(pods(index.apply(namespace("other"))).is_empty());
}

#[test]
fn only_new_containers_are_concerned_by_a_report() {
    let mut index = index();
    let more = BTreeSet::from([target("web"), target("new")]);
    assert_eq!(pods(index.set_containers(address(), more)), ["new"]);
}

#[test]
fn an_unknown_pod_and_another_pod_have_no_inputs() {
    let index = index();
    assert!(matches!(index.inputs(&target("new")), Err(NoInputs::UnknownPod { .. })));
    let mut other = target("web");
    other.pod_uid = "other".into();
    assert!(matches!(index.inputs(&other), Err(NoInputs::OtherPod { .. })));
    other.pod_uid = "u".into();
    assert!(index.inputs(&other).is_ok());
}

#[test]
fn a_refused_document_holds_back_whom_it_might_be_about() {
    let mut index = index();
    let selector = crd::Selector {
        match_labels: BTreeMap::from([("app".into(), "web".into())]),
        ..crd::Selector::default()
    };
    let scope = Scope::Pods { namespaces: Namespaces::one("n"), selector };
    assert_eq!(pods(index.apply(refusal(scope))), ["web"]);
    assert!(matches!(index.inputs(&target("web")), Err(NoInputs::Held(_))));
    assert!(index.inputs(&target("db")).is_ok());
    assert_eq!(pods(index.apply(refusal(Scope::Everything))), ["db", "web"]);
    assert_eq!(pods(index.apply(refusal(Scope::Nothing))), ["db", "web"]);
    assert!(index.inputs(&target("web")).is_ok());
}
