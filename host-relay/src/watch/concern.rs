// SPDX-License-Identifier: Apache-2.0
//! Whom a document that is refused may concern.
//!
//! A value that is no object flows in, the containers that it may be about flow out. It errs towards
//! more of them: what cannot be told widens the answer, up to all containers of the node.

use kubesmith::{
    crd::{self, KUBEARMOR_GROUP, Selector},
    select::{Namespaces, namespaces_of_cluster},
};
use serde_json::Value;

use super::Scope;

/// What a policy has and no other object of Kubernetes.
const SECTIONS: [&str; 8] = [
    "/spec/process",
    "/spec/file",
    "/spec/capabilities",
    "/spec/syscalls",
    "/spec/presets",
    "/spec/apparmor",
    "/spec/network/matchProtocols",
    "/spec/network/matchDNSQueries",
];

/// What a value may be.
enum Meant {
    /// A policy of a namespace.
    Policy,
    /// A policy of the cluster.
    ClusterPolicy,
    /// A namespace: it has postures and a level.
    Namespace,
    /// What no rule of a container comes from.
    Other,
    /// Any of these.
    Unknown,
}

/// The containers that the value may be about.
pub(super) fn concern(value: &Value) -> Scope {
    match meant(value) {
        Meant::Policy => of_policy(value, namespaces(value)),
        Meant::ClusterPolicy => {
            let Some(mut selector) = crd::selector_of(value) else { return Scope::Everything };
            // Such a policy has none.
            selector.match_labels.clear();
            pods(namespaces_of_cluster(&selector), selector)
        }
        Meant::Namespace => match value.pointer("/metadata/name").and_then(Value::as_str) {
            Some(name) => pods(Namespaces::one(name), Selector::default()),
            None => Scope::Everything,
        },
        Meant::Other => Scope::Nothing,
        // Only a policy of a namespace says which.
        Meant::Unknown => match own_namespace(value) {
            Some(name) => of_policy(value, Namespaces::one(name)),
            None => Scope::Everything,
        },
    }
}

fn of_policy(value: &Value, namespaces: Namespaces) -> Scope {
    pods(namespaces, crd::selector_of(value).unwrap_or_default())
}

fn pods(namespaces: Namespaces, selector: Selector) -> Scope {
    if namespaces == Namespaces::all() && selector == Selector::default() {
        return Scope::Everything;
    }
    Scope::Pods { namespaces, selector }
}

fn meant(value: &Value) -> Meant {
    let text = |key| value.get(key).and_then(Value::as_str).map(str::to_ascii_lowercase);
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Meant::Unknown;
    };
    match kind.as_str() {
        "kubearmorpolicy" => Meant::Policy,
        "kubearmorclusterpolicy" => Meant::ClusterPolicy,
        "kubearmorhostpolicy" | "kubearmornetworkpolicy" => Meant::Other,
        "namespace" => Meant::Namespace,
        _ if api_version.starts_with(KUBEARMOR_GROUP) || has_sections(value) => Meant::Unknown,
        _ if ["kubearmor", "namespace"].iter().any(|start| kind.starts_with(start)) => {
            Meant::Unknown
        }
        // Of its items nothing is known here.
        _ if kind.ends_with("list") => Meant::Unknown,
        _ => Meant::Other,
    }
}

fn has_sections(value: &Value) -> bool {
    SECTIONS.iter().any(|section| value.pointer(section).is_some())
}

/// The namespace that the value names; all if that cannot be read.
fn namespaces(value: &Value) -> Namespaces {
    if let Some(name) = own_namespace(value) {
        return Namespaces::one(name);
    }
    let metadata = value.get("metadata");
    match metadata.and_then(|metadata| metadata.get("namespace")) {
        // A misspelt field may be the one that is absent.
        None | Some(Value::Null | Value::String(_)) if metadata.is_some_and(crd::is_metadata) => {
            Namespaces::one(crd::DEFAULT_NAMESPACE)
        }
        _ => Namespaces::all(),
    }
}

fn own_namespace(value: &Value) -> Option<&str> {
    value.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GROUP: &str = "security.kubearmor.com/v1";

    fn value(api_version: &str, kind: &str, metadata: Value) -> Value {
        let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "process": {}});
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    }

    /// Namespaces and labels; none if it is not told by them.
    fn told(value: &Value) -> Option<(Namespaces, usize)> {
        match concern(value) {
            Scope::Pods { namespaces, selector } => Some((namespaces, selector.match_labels.len())),
            Scope::Nothing | Scope::Everything => None,
        }
    }

    #[test]
    fn what_may_be_a_policy_concerns_whom_it_may_select() {
        let shop = Some((Namespaces::one("shop"), 1));
        let metadata = || json!({"namespace": "shop"});
        for (api_version, kind) in [
            (GROUP, "KubeArmorPolicy"),
            (GROUP, "kubearmorpolicy"),
            ("security.kubearmor.com/v2", "KubeArmorPolicy"),
            ("security.kubearmor.io/v1", "KubeArmorPolicy"),
            (GROUP, "KubeArmorPolcy"),
            ("v1", "Policy"),
        ] {
            assert_eq!(told(&value(api_version, kind, metadata())), shop, "{api_version} {kind}");
        }
        let mut nameless = value(GROUP, "x", metadata());
        nameless["kind"] = json!(3);
        assert_eq!(told(&nameless), shop);
    }

    #[test]
    fn a_namespace_that_cannot_be_read_is_any() {
        for (metadata, namespaces) in [
            (json!({"name": "p"}), Namespaces::one("default")),
            (json!({"name": "p", "namespace": null}), Namespaces::one("default")),
            (json!({"name": "p", "namspace": "shop"}), Namespaces::all()),
            (json!({"name": "p", "namespace": 3}), Namespaces::all()),
            (json!(["p"]), Namespaces::all()),
        ] {
            let told = told(&value(GROUP, "KubeArmorPolicy", metadata.clone()));
            assert_eq!(told, Some((namespaces, 1)), "{metadata}");
        }
    }

    #[test]
    fn a_selector_that_cannot_be_read_takes_all_pods() {
        let mut policy = value(GROUP, "KubeArmorPolicy", json!({"name": "p", "namespace": "shop"}));
        policy["spec"]["selector"] = json!({"matchLabel": {"app": "web"}});
        assert_eq!(told(&policy), Some((Namespaces::one("shop"), 0)));
    }

    #[test]
    fn a_policy_of_the_cluster_concerns_whom_its_expressions_take() {
        let mut policy = value(GROUP, "KubeArmorClusterPolicy", json!({"name": "c"}));
        policy["spec"]["selector"] = json!({"matchExpressions": [
            {"key": "namespace", "operator": "In", "values": ["shop", "web"]},
            {"key": "namespace", "operator": "NotIn", "values": ["web"]},
        ]});
        let (namespaces, _) = told(&policy).unwrap();
        let found = ["shop", "web", "default"].map(|name| namespaces.has(name));
        assert_eq!(found, [true, false, false]);
        policy["spec"]["selector"] = json!({"matchExpressions": 3});
        assert_eq!(concern(&policy), Scope::Everything);
    }

    #[test]
    fn a_namespace_has_levels_and_postures_of_its_containers() {
        let namespace =
            |metadata| json!({"apiVersion": "v1", "kind": "namespace", "metadata": metadata});
        assert_eq!(told(&namespace(json!({"name": "shop"}))), Some((Namespaces::one("shop"), 0)));
        assert_eq!(concern(&namespace(json!({}))), Scope::Everything);
    }

    #[test]
    fn what_is_nothing_known_concerns_everything_and_what_is_another_kind_nothing() {
        for value in [json!("text"), json!([1]), json!({}), json!({"kind": "Pod"})] {
            assert_eq!(concern(&value), Scope::Everything, "{value}");
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": 3});
        assert_eq!(concern(&list), Scope::Everything);
        for (api_version, kind) in
            [("apps/v1", "Deployment"), ("v1", "pod"), (GROUP, "KubeArmorHostPolicy")]
        {
            let value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
            assert_eq!(concern(&value), Scope::Nothing, "{kind}");
        }
    }
}
