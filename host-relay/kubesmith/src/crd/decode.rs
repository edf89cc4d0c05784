// SPDX-License-Identifier: Apache-2.0
//! Untyped values to objects, with errors that name object and field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Kind, KubeArmorPolicy, Metadata, Namespace, Object, ObjectRef, Pod, Selector};

/// Where an object without a namespace lives, as for `kubectl`.
const DEFAULT_NAMESPACE: &str = "default";

/// Why a value is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    /// Not a Kubernetes object.
    #[error("`{0}` is missing; every document needs apiVersion, kind and metadata.name")]
    NoObject(&'static str),
    /// An object of another kind.
    #[error(
        "{kind} `{name}` ({api_version}): kind not supported yet; remove it (supported: \
         KubeArmorPolicy of security.kubearmor.com/v1, Pod and Namespace of v1)"
    )]
    Unsupported {
        /// Its apiVersion.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
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

/// Types a value.
///
/// # Errors
/// If its kind is not supported, or the first field that is not as its kind demands.
pub fn decode(value: Value) -> Result<Object, InvalidObject> {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let api_version = text("/apiVersion").ok_or(InvalidObject::NoObject("apiVersion"))?;
    let kind = text("/kind").ok_or(InvalidObject::NoObject("kind"))?;
    let name = text("/metadata/name").ok_or(InvalidObject::NoObject("metadata.name"))?;
    let Some(object) = identify(&value) else {
        let (api_version, kind, name) = (api_version.into(), kind.into(), name.into());
        return Err(InvalidObject::Unsupported { api_version, kind, name });
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
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let kind = match (text("/apiVersion")?, text("/kind")?) {
        ("security.kubearmor.com/v1", "KubeArmorPolicy") => Kind::Policy,
        ("v1", "Pod") => Kind::Pod,
        ("v1", "Namespace") => Kind::Namespace,
        _ => return None,
    };
    let namespace = match kind {
        Kind::Namespace => "",
        Kind::Policy | Kind::Pod => text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE),
    };
    Some(ObjectRef { kind, namespace: namespace.into(), name: text("/metadata/name")?.into() })
}

/// Selector of a policy that may be malformed otherwise; none if the selector itself is.
#[must_use]
pub fn selector_of(value: &Value) -> Option<Selector> {
    match value.pointer("/spec/selector") {
        Some(selector) => serde_json::from_value(selector.clone()).ok(),
        None => Some(Selector::default()),
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
        assert!(error.contains("kind not supported yet"), "{error}");
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
