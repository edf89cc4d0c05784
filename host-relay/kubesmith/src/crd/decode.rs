// SPDX-License-Identifier: Apache-2.0
//! Untyped values to objects, with errors that name object and field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Kind, KubeArmorPolicy, Metadata, Namespace, Object, ObjectRef, Pod, Selector,
    nulls::without_nulls,
};

/// Where an object without a namespace lives, as for `kubectl`.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The group of policies.
pub const KUBEARMOR_GROUP: &str = "security.kubearmor.com/";

/// The kinds that are supported.
const KINDS: [(&str, &str, Kind); 3] = [
    ("security.kubearmor.com/v1", "KubeArmorPolicy", Kind::Policy),
    ("v1", "Pod", Kind::Pod),
    ("v1", "Namespace", Kind::Namespace),
];

/// Why a value is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    /// Not a Kubernetes object.
    #[error("{what}{problem}; every document needs apiVersion, kind and metadata.name")]
    NoObject {
        /// Its kind and namespace with a colon, as far as they can be told.
        what: String,
        /// The field and what is wrong with it.
        problem: String,
    },
    /// An object of another kind.
    #[error("{kind} `{name}` ({api_version}): {remedy}")]
    Unsupported {
        /// Its apiVersion.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The field that is meant, or what to do.
        remedy: String,
    },
    /// A field is unknown, missing or of another type.
    #[error("{object}: {field}: {problem}")]
    Malformed {
        /// Kind and name.
        object: ObjectRef,
        /// Path of the field.
        field: String,
        /// What is wrong.
        problem: String,
    },
}

/// Types a value. A key without a value is absent.
///
/// # Errors
/// If its kind is not supported, or the first field that is not as its kind demands.
pub fn decode(mut value: Value) -> Result<Object, InvalidObject> {
    without_nulls(&mut value);
    let api_version = required(&value, "apiVersion")?;
    let kind = required(&value, "kind")?;
    let name = required(&value, "metadata.name")?;
    if let Some(Err(problem)) = text(&value, "metadata.namespace") {
        return Err(InvalidObject::NoObject { what: what(&value), problem });
    }
    let Some(object) = identify(&value) else {
        let remedy = remedy(api_version, kind);
        let (api_version, kind, name) = (api_version.into(), kind.into(), name.into());
        return Err(InvalidObject::Unsupported { api_version, kind, name, remedy });
    };
    match object.kind {
        Kind::Policy => {
            let mut policy: KubeArmorPolicy = typed(value, object)?;
            default_namespace(&mut policy.metadata);
            Ok(Object::Policy(Box::new(policy)))
        }
        Kind::Pod => {
            let mut pod: Pod = typed(value, object)?;
            default_namespace(&mut pod.metadata);
            Ok(Object::Pod(Box::new(pod)))
        }
        Kind::Namespace => {
            let mut namespace: Namespace = typed(value, object)?;
            namespace.metadata.namespace.clear();
            Ok(Object::Namespace(Box::new(namespace)))
        }
    }
}

/// Kind and name of a value that may be malformed otherwise; none if it has none or its kind is
/// not supported.
#[must_use]
pub fn identify(value: &Value) -> Option<ObjectRef> {
    let given = |field| text(value, field)?.ok();
    let (api_version, kind) = (given("apiVersion")?, given("kind")?);
    let (.., kind) = KINDS.into_iter().find(|it| (it.0, it.1) == (api_version, kind))?;
    let namespace = match (kind, text(value, "metadata.namespace")) {
        (Kind::Namespace, _) => "",
        (_, None | Some(Ok(""))) => DEFAULT_NAMESPACE,
        (_, Some(namespace)) => namespace.ok()?,
    };
    let name = given("metadata.name")?;
    Some(ObjectRef { kind, namespace: namespace.into(), name: name.into() })
}

/// The text of a field; none if it is absent.
fn text<'a>(value: &'a Value, field: &str) -> Option<Result<&'a str, String>> {
    let found = field.split('.').try_fold(value, |value, key| value.get(key))?;
    match found {
        Value::Null => None,
        Value::String(text) => Some(Ok(text)),
        Value::Number(_) | Value::Bool(_) => Some(Err(format!("`{field}` is no text; quote it"))),
        Value::Array(_) | Value::Object(_) => Some(Err(format!("`{field}` is no text"))),
    }
}

fn required<'a>(value: &'a Value, field: &str) -> Result<&'a str, InvalidObject> {
    let problem = match text(value, field) {
        Some(Ok("")) => format!("`{field}` is empty"),
        Some(Ok(text)) => return Ok(text),
        Some(Err(problem)) => problem,
        None => format!("`{field}` is missing"),
    };
    Err(InvalidObject::NoObject { what: what(value), problem })
}

/// What an object without a name is.
fn what(value: &Value) -> String {
    let given = |field| text(value, field).and_then(Result::ok);
    let name = given("metadata.name").map(|name| format!(" `{name}`")).unwrap_or_default();
    match (given("kind"), given("metadata.namespace")) {
        (Some(kind), Some(namespace)) => format!("{kind}{name} of namespace {namespace}: "),
        (Some(kind), None) => format!("{kind}{name}: "),
        (None, _) => String::new(),
    }
}

/// What to write instead of a kind that is not supported.
fn remedy(api_version: &str, kind: &str) -> String {
    let similar = KINDS.into_iter().find(|(_, known, _)| known.eq_ignore_ascii_case(kind));
    match similar {
        Some((known, name, _)) if name == kind => {
            format!("apiVersion: `{api_version}` has no such kind here; write `{known}`")
        }
        Some((known, name, _)) => {
            format!("kind: write it as `{name}`, with apiVersion `{known}`")
        }
        None => "kind: not supported yet; remove it (supported: KubeArmorPolicy of \
                 security.kubearmor.com/v1, Pod and Namespace of v1)"
            .into(),
    }
}

/// Selector of a policy that may be malformed otherwise; none if the selector itself is.
#[must_use]
pub fn selector_of(value: &Value) -> Option<Selector> {
    let mut value = value.pointer("/spec/selector").cloned().unwrap_or_default();
    without_nulls(&mut value);
    match value {
        Value::Null => Some(Selector::default()),
        value => serde_json::from_value(value).ok(),
    }
}

fn typed<T: DeserializeOwned>(value: Value, object: ObjectRef) -> Result<T, InvalidObject> {
    serde_path_to_error::deserialize(value).map_err(|error| InvalidObject::Malformed {
        object,
        field: error.path().to_string(),
        problem: error.into_inner().to_string(),
    })
}

fn default_namespace(metadata: &mut Metadata) {
    if metadata.namespace.is_empty() {
        metadata.namespace = DEFAULT_NAMESPACE.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: Value) -> Value {
        json!({
            "apiVersion": "security.kubearmor.com/v1",
            "kind": "KubeArmorPolicy",
            "metadata": {"name": "p", "namespace": "web", "resourceVersion": "7"},
            "spec": spec,
        })
    }

    #[test]
    fn a_misspelt_field_is_named_with_its_path() {
        let spec = json!({"process": {"matchPaths": [{"path": "/bin/a"}, {"paht": "/bin/b"}]}});
        let error = decode(policy(spec)).unwrap_err().to_string();
        assert!(error.contains("KubeArmorPolicy web/p: spec.process.matchPaths[1]"), "{error}");
        assert!(error.contains("unknown field `paht`"), "{error}");
    }

    #[test]
    fn a_misspelt_namespace_does_not_become_the_default_one() {
        let mut value = policy(json!({}));
        value["metadata"] = json!({"name": "p", "namspace": "web"});
        let error = decode(value).unwrap_err().to_string();
        assert!(error.contains("unknown field `namspace`"), "{error}");
    }

    #[test]
    fn other_kinds_are_not_supported_yet() {
        let value = json!({
            "apiVersion": "security.kubearmor.com/v1",
            "kind": "KubeArmorClusterPolicy",
            "metadata": {"name": "c"},
        });
        let error = decode(value).unwrap_err().to_string();
        assert!(error.contains("KubeArmorClusterPolicy `c`"), "{error}");
        assert!(error.contains("kind: not supported yet"), "{error}");
    }

    #[test]
    fn a_kind_or_version_that_is_nearly_one_is_told_with_the_right_one() {
        for (api_version, kind, remedy) in [
            ("security.kubearmor.com/v1", "kubearmorpolicy", "kind: write it as `KubeArmorPolicy`"),
            ("security.kubearmor.com/v2", "KubeArmorPolicy", "write `security.kubearmor.com/v1`"),
            ("v1", "pod", "kind: write it as `Pod`"),
        ] {
            let value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
            let error = decode(value).unwrap_err().to_string();
            assert!(error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn an_object_without_a_name_is_told_by_kind_and_namespace() {
        let mut value = policy(json!({}));
        value["metadata"] = json!({"namespace": "web"});
        let error = decode(value.clone()).unwrap_err().to_string();
        let start = "KubeArmorPolicy of namespace web: `metadata.name` is missing; ";
        assert!(error.starts_with(start), "{error}");
        value["metadata"] = json!({"name": 7, "namespace": "web"});
        let error = decode(value).unwrap_err().to_string();
        assert!(error.contains("`metadata.name` is no text; quote it"), "{error}");
    }

    #[test]
    fn a_namespace_that_is_no_text_does_not_become_the_default_one() {
        let mut value = policy(json!({}));
        value["metadata"] = json!({"name": "p", "namespace": 3});
        assert_eq!(identify(&value), None);
        assert!(decode(value).is_err());
    }

    #[test]
    fn a_key_without_a_value_is_absent_wherever_it_is() {
        let null = Value::Null;
        let spec = json!({
            "selector": {"matchLabels": null, "matchExpressions": null},
            "process": {
                "matchPaths": [{
                    "path": "/bin/ls", "execname": null, "allowedArgs": null, "ownerOnly": null,
                    "pts": null, "fromSource": null, "severity": null, "tags": null,
                    "message": null, "action": null,
                }],
                "matchDirectories": null, "matchPatterns": null, "severity": null,
            },
            "file": null, "network": null, "capabilities": null,
            "syscalls": {"matchSyscalls": null}, "presets": null, "apparmor": null,
            "severity": null, "tags": null, "message": null, "action": null,
        });
        let plain =
            policy(json!({"process": {"matchPaths": [{"path": "/bin/ls"}]}, "syscalls": {}}));
        let mut value = policy(spec);
        for field in ["uid", "labels", "annotations", "managedFields"] {
            value["metadata"][field] = null.clone();
        }
        value["status"] = null;
        assert_eq!(decode(value), decode(plain));
    }

    #[test]
    fn actions_may_be_lower_case_at_the_top_only() {
        assert!(decode(policy(json!({"action": "block"}))).is_ok());
        assert!(decode(policy(json!({"action": ""}))).is_ok());
        assert!(decode(policy(json!({"action": "Deny"}))).is_err());
        assert!(decode(policy(json!({"process": {"action": "block"}}))).is_err());
    }

    #[test]
    fn every_field_of_the_language_is_read() {
        let source = json!([{"path": "/bin/sh"}]);
        let spec = json!({
            "selector": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "label", "operator": "In", "values": ["a=b"]}],
            },
            "process": {
                "matchPaths": [
                    {"path": "/bin/ls", "allowedArgs": ["-l"], "ownerOnly": true, "pts": false,
                     "fromSource": source, "severity": 3, "tags": ["t"], "message": "m",
                     "action": "Audit"},
                    {"execname": "apt"},
                ],
                "matchDirectories": [{"dir": "/sbin/", "recursive": true, "ownerOnly": true,
                    "pts": true, "fromSource": source}],
                "matchPatterns": [{"pattern": "/bin/*", "ownerOnly": true}],
                "severity": 4, "action": "Allow",
            },
            "file": {
                "matchPaths": [{"path": "/etc/passwd", "readOnly": true, "ownerOnly": true,
                    "pts": false, "fromSource": source}],
                "matchDirectories": [{"dir": "/etc/", "recursive": true, "readOnly": true,
                    "ownerOnly": true, "pts": false, "fromSource": source}],
                "matchPatterns": [{"pattern": "/etc/**", "readOnly": true, "ownerOnly": true}],
            },
            "network": {
                "matchProtocols": [{"protocol": "tcp,udp", "pts": false, "fromSource": source}],
                "matchDNSQueries": [{"domain": "example.com", "fromSource": source}],
            },
            "capabilities": {"matchCapabilities": [{"capability": "net_raw", "fromSource": source}]},
            "syscalls": {
                "matchSyscalls": [{"syscall": ["unlink"], "fromSource": [{"dir": "/bin/",
                    "recursive": true}]}],
                "matchPaths": [{"path": "/etc/", "syscall": ["open"], "recursive": true,
                    "fromSource": source}],
                "severity": 2, "tags": ["t"], "message": "m",
            },
            "presets": [{"name": "filelessExec", "action": "Audit"}],
            "apparmor": "deny /etc/** rw,",
            "severity": 5, "tags": ["t"], "message": "m", "action": "Block",
        });
        assert!(matches!(decode(policy(spec)), Ok(Object::Policy(_))));
    }

    #[test]
    fn pods_may_have_fields_that_nobody_here_knows() {
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"app": "web"}, "somethingNew": 1},
            "spec": {"containers": [{"name": "c", "image": "i"}], "runtimeClassName": "kata"},
        });
        let Ok(Object::Pod(pod)) = decode(value) else { panic!("no pod") };
        assert_eq!(pod.metadata.namespace, "default");
        assert_eq!(pod.spec.containers[0].name, "c");
    }
}
