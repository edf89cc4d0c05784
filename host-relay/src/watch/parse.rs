// SPDX-License-Identifier: Apache-2.0
//! Bytes of one file to objects, document by document.
//!
//! A document that is no object is refused with its place, its object and the field, and holds back
//! whom it may concern; the others of its file are read.

mod tree;
mod yaml;

use std::{collections::BTreeMap, path::Path};

use kubesmith::crd::{self, Object, ObjectRef};
use policy_model::limits::{MAX_RULE_SET_BYTES, MAX_RULES};
use serde_json::Value;

use self::tree::Tree;
use super::{Position, Refusal, Scope, concern::concern};

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

/// A document, or what is wrong with it.
type Text = Result<Tree, Unreadable>;

/// A document that is not of its format.
struct Unreadable {
    message: String,
    /// Its fields at the top before the one in which the fault is, if they are whole.
    beginning: Option<Tree>,
}

/// Parses a file by its extension: JSON, or else YAML.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Parsed {
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let documents = match std::str::from_utf8(bytes) {
        _ if bytes.len() > MAX_FILE_BYTES => Err(too_much("bytes", MAX_FILE_BYTES)),
        Ok(text) if is_json => json(text),
        Ok(text) => yaml::documents(text),
        Err(error) => Err(format!("not UTF-8: {error}; save it as UTF-8")),
    };
    let origin = file.display().to_string();
    match documents {
        Ok(documents) => typed(origin, documents),
        Err(message) => Parsed { refusals: vec![whole(&origin, message)], ..Parsed::default() },
    }
}

/// The refusal of a file of which nothing can be told.
pub(super) fn whole(origin: &str, message: String) -> Refusal {
    Refusal {
        origin: origin.into(),
        position: Position::default(),
        object: None,
        message,
        scope: Scope::Everything,
    }
}

fn too_much(what: &str, most: usize) -> String {
    format!("more than {most} {what}; split the file")
}

/// JSON has no aliases, and its parser its own bound of depth.
fn json(text: &str) -> Result<Vec<Text>, String> {
    // Each node but a document follows one of these, so this is never less than there are.
    let follows_one = |byte: &u8| matches!(byte, b'{' | b'[' | b',' | b':');
    if text.as_bytes().iter().filter(|byte| follows_one(byte)).count() > MAX_NODES {
        return Err(too_much("nodes", MAX_NODES));
    }
    let documents = serde_json::Deserializer::from_str(text).into_iter::<Tree>();
    let documents: Vec<_> = documents.take(MAX_DOCUMENTS + 1).collect();
    if documents.len() > MAX_DOCUMENTS {
        return Err(too_much("documents", MAX_DOCUMENTS));
    }
    let unreadable = |error: serde_json::Error| Unreadable {
        message: format!("not JSON: {error}; what follows is not read either"),
        beginning: None,
    };
    Ok(documents.into_iter().map(|document| document.map_err(unreadable)).collect())
}

/// Types the documents of a file one by one.
fn typed(origin: String, documents: Vec<Text>) -> Parsed {
    let mut typing = Typing { origin, position: Position::default(), parsed: Parsed::default() };
    let mut number = 0;
    for document in documents {
        if matches!(document, Ok(Tree::Scalar(Value::Null))) {
            continue;
        }
        number += 1;
        typing.position = Position { document: Some(number), items: Vec::new() };
        match document {
            Ok(tree) => typing.take(tree),
            Err(Unreadable { message, beginning }) => {
                let beginning = beginning.map(|tree| tree.into_value().0).unwrap_or_default();
                let message = format!("{}{message}", named(&beginning));
                typing.refuse(&beginning, message);
            }
        }
    }
    typing.parsed
}

/// The object that a value says it is, to begin a message with.
fn named(value: &Value) -> String {
    crd::identify(value).map(|object| format!("{object}: ")).unwrap_or_default()
}

/// The typing of one file.
struct Typing {
    origin: String,
    /// The document, or the item of a list, that is looked at.
    position: Position,
    parsed: Parsed,
}

// === impl Typing ===

impl Typing {
    fn take(&mut self, tree: Tree) {
        let (value, twice) = tree.into_value();
        if twice.is_empty() {
            return self.take_value(value);
        }
        let fields = twice.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
        let message =
            format!("{}{fields}: the key is there twice; remove one of them", named(&value));
        self.refuse(&value, message);
    }

    fn take_value(&mut self, value: Value) {
        match crd::items(value) {
            Ok(items) => {
                for (at, item) in items.into_iter().enumerate() {
                    self.position.items.push(at + 1);
                    self.take_value(item);
                    self.position.items.pop();
                }
            }
            Err(value) => self.take_object(value),
        }
    }

    fn take_object(&mut self, value: Value) {
        match crd::decode(value.clone()) {
            Ok(found) if !self.parsed.objects.contains_key(&found.reference()) => {
                self.parsed.objects.insert(found.reference(), found);
            }
            Ok(found) => {
                let object = found.reference();
                let message = format!(
                    "{object} is in this file already; the first stays, rename or remove this one"
                );
                self.push(Some(object), message, Scope::Nothing);
            }
            Err(error) => self.refuse(&value, error.to_string()),
        }
    }

    /// Refuses what this value is, with whom it may concern.
    fn refuse(&mut self, value: &Value, message: String) {
        let scope = concern(value);
        self.push(crd::identify(value), message, scope);
    }

    fn push(&mut self, object: Option<ObjectRef>, message: String, scope: Scope) {
        let (origin, position) = (self.origin.clone(), self.position.clone());
        self.parsed.refusals.push(Refusal { origin, position, object, message, scope });
    }
}

#[cfg(test)]
mod tests {
    use kubesmith::select::Namespaces;

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
        assert_eq!(refusal.scope, pods_of("default"));
    }

    fn pods_of(namespace: &str) -> Scope {
        let namespaces = Namespaces::one(namespace);
        Scope::Pods { namespaces, selector: crd::Selector::default() }
    }

    #[test]
    fn a_document_that_is_no_yaml_takes_nothing_from_the_others() {
        for bad in ["spec: [1\n", "a: b: c\n", "kind: 'x\n", "\tx: 1\n"] {
            let parsed = parsed(&format!("{bad}---\n{GOOD}---\n{bad}"));
            assert_eq!(parsed.objects.len(), 1, "{bad:?}");
            let found: Vec<_> = parsed.refusals.iter().map(|it| it.position.document).collect();
            assert_eq!(found, [Some(1), Some(3)]);
            assert_eq!(parsed.refusals[0].scope, Scope::Everything);
            assert!(!parsed.refusals[0].message.contains('\n'), "{}", parsed.refusals[0].message);
        }
    }

    #[test]
    fn what_stands_before_the_fault_tells_whom_it_may_concern() {
        let head = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n";
        let metadata = "metadata:\n  name: p\n  namespace: shop\n";
        let spec = "spec:\n  file: [\n  process:\n    matchPaths: {}}\n";
        let refused = |text: &str| parsed(text).refusals.remove(0);
        let refusal = refused(&format!("{head}{metadata}{spec}"));
        assert_eq!(refusal.scope, pods_of("shop"));
        let text = refusal.to_string();
        let start = "p.yaml: document 1: KubeArmorPolicy shop/p: not YAML: ";
        assert!(text.starts_with(start), "{text}");
        // Where the fault is before it, or in it, the namespace may be any.
        assert_eq!(refused(&format!("{head}{spec}{metadata}")).scope, Scope::Everything);
        let unclosed = metadata.replace("p\n", "'p\n");
        assert_eq!(refused(&format!("{head}{unclosed}spec: {{}}\n")).scope, Scope::Everything);
        let pod = format!("apiVersion: v1\nkind: Pod\n{metadata}{spec}");
        assert_eq!(refused(&pod).scope, Scope::Nothing);
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_with_its_object() {
        let policy = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n\
                      metadata: {name: p, namespace: shop}\nspec:\n  process:\n    \
                      matchPaths: [{path: /a, path: /b}]\n  process: {}\n";
        let parsed = parsed(&format!("{GOOD}---\n{policy}"));
        assert_eq!(parsed.objects.len(), 1);
        let text = parsed.refusals[0].to_string();
        let expected = "p.yaml: document 2: KubeArmorPolicy shop/p: \
                        `spec.process.matchPaths[0].path`, `spec.process`: the key is there twice; \
                        remove one of them";
        assert_eq!(text, expected);
        assert_eq!(parsed.refusals[0].scope, pods_of("shop"));
        let json =
            r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "kind": ""}"#;
        let parsed = parse(Path::new("n.json"), json.as_bytes());
        assert!(parsed.objects.is_empty() && parsed.refusals[0].message.contains("`kind`"));
        assert_eq!(parsed.refusals[0].scope, Scope::Everything);
    }

    #[test]
    fn a_namespace_or_a_selector_that_is_there_twice_may_be_any() {
        let policy = |metadata: &str, selector: &str| {
            let text = format!(
                "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n\
                 metadata: {{name: p, {metadata}}}\nspec: {{selector: {{matchLabels: {{{selector}}}}}}}\n"
            );
            parsed(&text).refusals.remove(0).scope
        };
        let Scope::Pods { namespaces, .. } = policy("namespace: a, namespace: b", "app: x") else {
            panic!("some pods");
        };
        assert_eq!(namespaces, Namespaces::all());
        assert_eq!(policy("namespace: a", "app: x, app: y"), pods_of("a"));
    }

    #[test]
    fn lists_are_their_items() {
        let policy = "{metadata: {name: NAME, namespace: shop}, spec: {}}";
        let list = format!(
            "apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Pod, metadata: {{name: a}}}}\n\
             - apiVersion: security.kubearmor.com/v1\n  kind: KubeArmorPolicyList\n  items: \
             [{}, {}, {{metadata: {{namespace: shop}}}}]\n",
            policy.replace("NAME", "p"),
            policy.replace("NAME", "q"),
        );
        let parsed = parsed(&list);
        assert_eq!(parsed.objects.len(), 3);
        let text = parsed.refusals[0].to_string();
        let start = "p.yaml: document 1: item 2: item 3: KubeArmorPolicy of namespace shop: `metadata.name`";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(parsed.refusals[0].scope, pods_of("shop"));
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
