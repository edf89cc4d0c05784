// SPDX-License-Identifier: Apache-2.0
//! Bytes of one file to objects, document by document.

use std::{collections::BTreeMap, path::Path};

use kubesmith::crd::{self, InvalidObject, Kind, Object, ObjectRef};
use serde_json::Value;

use super::{Refusal, Scope};

/// YAML nodes of one file: the largest rule set of the contract as one policy, some six nodes a
/// rule. What exceeds it is no policy.
const MAX_NODES: usize = 1_000_000;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) objects: BTreeMap<ObjectRef, Object>,
    pub(super) refusals: Vec<Refusal>,
}

/// Parses a file by its extension: JSON, or else YAML.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Parsed {
    let documents = match std::str::from_utf8(bytes) {
        Ok(text) if file.extension().is_some_and(|extension| extension == "json") => json(text),
        Ok(text) => yaml(text),
        Err(error) => Err(format!("not UTF-8: {error}; save it as UTF-8")),
    };
    let origin = file.display().to_string();
    match documents {
        Ok(documents) => typed(&origin, documents),
        Err(message) => Parsed { refusals: vec![whole(&origin, message)], ..Parsed::default() },
    }
}

/// The refusal of a file of which nothing can be told.
pub(super) fn whole(origin: &str, message: String) -> Refusal {
    Refusal {
        origin: origin.into(),
        document: None,
        object: None,
        message,
        scope: Scope::Everything,
    }
}

fn json(text: &str) -> Result<Vec<Value>, String> {
    let documents = serde_json::Deserializer::from_str(text).into_iter();
    documents.collect::<Result<_, _>>().map_err(|error| format!("not JSON: {error}"))
}

fn yaml(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 4 * MAX_NODES },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| format!("not YAML: {error}"))
}

fn typed(origin: &str, documents: Vec<Value>) -> Parsed {
    let mut parsed = Parsed::default();
    for (index, value) in documents.into_iter().enumerate() {
        if value.is_null() {
            continue;
        }
        let object = crd::identify(&value);
        let selector = crd::selector_of(&value).unwrap_or_default();
        let refuse = |message, scope| Refusal {
            origin: origin.into(),
            document: Some(index + 1),
            object: object.clone(),
            message,
            scope,
        };
        match crd::decode(value) {
            Ok(found) if !parsed.objects.contains_key(&found.reference()) => {
                parsed.objects.insert(found.reference(), found);
            }
            Ok(found) => {
                let message = format!(
                    "{} is in this file already; the first stays, rename or remove this one",
                    found.reference()
                );
                parsed.refusals.push(refuse(message, Scope::Nothing));
            }
            Err(error) => {
                let scope = scope_of(&error, selector);
                parsed.refusals.push(refuse(error.to_string(), scope));
            }
        }
    }
    parsed
}

fn scope_of(error: &InvalidObject, selector: crd::Selector) -> Scope {
    match error {
        InvalidObject::Malformed { object, .. } if object.kind == Kind::Policy => {
            Scope::Pods { namespace: object.namespace.clone(), selector }
        }
        InvalidObject::Unsupported { kind, .. } if kind == "KubeArmorClusterPolicy" => {
            Scope::Everything
        }
        // A pod that is not known gets nothing anyway; the rest never was a policy.
        InvalidObject::Malformed { .. }
        | InvalidObject::Unsupported { .. }
        | InvalidObject::NoObject(_) => Scope::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";

    fn parsed(text: &str) -> Parsed {
        parse(Path::new("p.yaml"), text.as_bytes())
    }

    #[test]
    fn documents_are_judged_one_by_one() {
        let bad = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n\
                   metadata: {name: p}\nspec: {proces: {}}\n";
        let parsed = parsed(&format!("---\n{GOOD}---\n---\n{bad}"));
        assert_eq!(parsed.objects.len(), 1);
        let [refusal] = &parsed.refusals[..] else { panic!("{parsed:?}") };
        let text = refusal.to_string();
        assert!(text.starts_with("p.yaml: document 2: KubeArmorPolicy default/p: spec"), "{text}");
        assert!(text.contains("unknown field `proces`"), "{text}");
        assert!(matches!(&refusal.scope, Scope::Pods { namespace, .. } if namespace == "default"));
    }

    #[test]
    fn a_file_that_is_no_yaml_is_refused_as_a_whole() {
        let parsed = parsed(&format!("{GOOD}---\nspec: [1\n"));
        assert!(parsed.objects.is_empty());
        assert_eq!(parsed.refusals[0].scope, Scope::Everything);
        assert!(!parsed.refusals[0].message.contains('\n'), "{}", parsed.refusals[0].message);
    }

    #[test]
    fn the_same_object_twice_keeps_the_first() {
        let parsed = parsed(&format!("{GOOD}---\n{GOOD}"));
        assert_eq!(parsed.objects.len(), 1);
        assert!(parsed.refusals[0].message.contains("Pod default/a is in this file already"));
    }

    #[test]
    fn json_is_read_too() {
        let text = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}"#;
        assert_eq!(parse(Path::new("n.json"), text.as_bytes()).objects.len(), 1);
        assert!(!parse(Path::new("n.json"), b"{").refusals.is_empty());
    }
}
