// SPDX-License-Identifier: Apache-2.0
//! Bytes of one file to objects, document by document.

use std::{collections::BTreeMap, path::Path};

use kubesmith::crd::{self, InvalidObject, Kind, Object, ObjectRef};
use policy_model::limits::{MAX_RULE_SET_BYTES, MAX_RULES};
use serde_json::Value;

use super::{Refusal, Scope};

/// Bytes of one file: a rule takes about as many as text as it does in a rule set, and a guest takes
/// no more of those.
pub(super) const MAX_FILE_BYTES: usize = MAX_RULE_SET_BYTES;

/// Nodes of one file, those of aliases counted at each use: the most rules that a guest takes, of ten
/// nodes each; one by path has six. What exceeds it is no policy.
const MAX_NODES: usize = 10 * MAX_RULES;

/// Nesting of a document: the deepest field of a pod lies some fifteen levels down.
const MAX_DEPTH: usize = 64;

/// Documents of one file: a node runs 110 pods by default, each with some policies.
const MAX_DOCUMENTS: usize = 1024;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) objects: BTreeMap<ObjectRef, Object>,
    pub(super) refusals: Vec<Refusal>,
}

/// Parses a file by its extension: JSON, or else YAML.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Parsed {
    let documents = match std::str::from_utf8(bytes) {
        _ if bytes.len() > MAX_FILE_BYTES => Err(too_much("bytes", MAX_FILE_BYTES)),
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

fn too_much(what: &str, most: usize) -> String {
    format!("more than {most} {what}; split the file")
}

/// JSON has no aliases, and its parser its own bound of depth.
fn json(text: &str) -> Result<Vec<Value>, String> {
    // Each node but a document follows one of these, so this is never less than there are.
    let follows_one = |byte: &u8| matches!(byte, b'{' | b'[' | b',' | b':');
    if text.as_bytes().iter().filter(|byte| follows_one(byte)).count() > MAX_NODES {
        return Err(too_much("nodes", MAX_NODES));
    }
    let documents = serde_json::Deserializer::from_str(text).into_iter();
    let documents = documents.take(MAX_DOCUMENTS + 1).collect::<Result<Vec<_>, _>>();
    match documents {
        Ok(documents) if documents.len() > MAX_DOCUMENTS => {
            Err(too_much("documents", MAX_DOCUMENTS))
        }
        documents => documents.map_err(|error| format!("not JSON: {error}")),
    }
}

fn yaml(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            // A node has a beginning and an end at most; the rest is for documents and aliases.
            max_events: 4 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            // Aliases may repeat a text, but not beyond the longest file.
            max_total_scalar_bytes: MAX_FILE_BYTES,
            max_recorded_anchor_bytes: MAX_FILE_BYTES,
            max_recorded_anchor_events: MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| explain(&error))
}

fn explain(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    let cause = if let Error::AliasError { error, .. } = error { error } else { error };
    match cause {
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            format!("{error}; split the file, or write out what its aliases stand for")
        }
        _ => format!("not YAML: {error}"),
    }
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

    /// Nine anchors of nine aliases each, as `&a: [*b, *b, ..]`.
    fn laughs() -> String {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..=9 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        text
    }

    #[test]
    fn a_file_that_grows_by_aliases_is_refused_with_a_remedy() {
        let long_text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), ["*a"; 99].join(", "));
        for text in [laughs(), long_text] {
            let parsed = parsed(&text);
            let text = parsed.refusals[0].to_string();
            assert!(text.starts_with("p.yaml: ") && text.contains("split the file"), "{text}");
            assert_eq!(parsed.refusals[0].scope, Scope::Everything);
        }
    }

    #[test]
    fn a_document_of_any_depth_is_refused_without_using_up_the_stack() {
        let blocks: String = (0..2000).map(|depth| " ".repeat(depth) + "a:\n").collect();
        for text in ["[".repeat(1 << 20), "{a: ".repeat(1 << 18), "- ".repeat(1 << 19), blocks] {
            assert!(!parsed(&text).refusals.is_empty(), "{}", &text[..8]);
        }
        let json = "[".repeat(MAX_NODES);
        assert!(!parse(Path::new("p.json"), json.as_bytes()).refusals.is_empty());
    }

    #[test]
    fn a_file_above_the_limit_is_refused_with_a_remedy() {
        let refused = |name: &str, text: &str| {
            let parsed = parse(Path::new(name), text.as_bytes());
            assert!(parsed.objects.is_empty());
            parsed.refusals[0].to_string()
        };
        let (long, many) = ("#".repeat(MAX_FILE_BYTES + 1), "0 ".repeat(MAX_DOCUMENTS + 1));
        assert_eq!(refused("p.yaml", &long), "p.yaml: more than 16777216 bytes; split the file");
        assert_eq!(refused("p.json", &many), "p.json: more than 1024 documents; split the file");
        let nodes = format!("[{}0]", "0,".repeat(MAX_NODES));
        assert_eq!(refused("p.json", &nodes), "p.json: more than 1000000 nodes; split the file");
        assert!(
            refused("p.yaml", &"---\na\n".repeat(MAX_DOCUMENTS + 1)).contains("split the file")
        );
    }

    #[test]
    fn ten_mebibytes_are_read() {
        let pod = format!("{GOOD}spec: {{note: {}}}\n", "x".repeat(10 << 20));
        assert_eq!(parsed(&pod).objects.len(), 1);
    }

    #[test]
    fn numbers_of_any_size_are_no_texts() {
        for number in ["9".repeat(400), "1e999999999".into(), "0x".to_owned() + &"f".repeat(400)] {
            let text =
                format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {number}\n");
            assert!(parsed(&text).objects.is_empty(), "{number}");
        }
    }

    #[test]
    fn json_is_read_too() {
        let text = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}"#;
        assert_eq!(parse(Path::new("n.json"), text.as_bytes()).objects.len(), 1);
        assert!(!parse(Path::new("n.json"), b"{").refusals.is_empty());
    }
}
