// SPDX-License-Identifier: Apache-2.0
//! A document as it is written: unlike a JSON value, it keeps a key that stands there twice.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};

/// A node of a document.
#[derive(Debug)]
pub(super) enum Tree {
    /// A scalar; none is null.
    Scalar(Value),
    /// A sequence.
    Sequence(Vec<Tree>),
    /// Keys and values as they follow each other.
    Mapping(Vec<(String, Tree)>),
}

// === impl Tree ===

impl Tree {
    /// The value, and the path of each key that is there more than once. Such a key has the sequence
    /// of all its values: a type that no field of an object has which tells what it is about.
    pub(super) fn into_value(self) -> (Value, Vec<String>) {
        let mut twice = Vec::new();
        let value = self.value_at("", &mut twice);
        (value, twice)
    }

    /// Number of its nodes.
    pub(super) fn nodes(&self) -> usize {
        let below = match self {
            Self::Scalar(_) => 0,
            Self::Sequence(items) => items.iter().map(Self::nodes).sum(),
            Self::Mapping(entries) => entries.iter().map(|(_, tree)| 1 + tree.nodes()).sum(),
        };
        1 + below
    }

    fn value_at(self, path: &str, twice: &mut Vec<String>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::Sequence(items) => {
                let items = items.into_iter().enumerate();
                items.map(|(at, item)| item.value_at(&format!("{path}[{at}]"), twice)).collect()
            }
            Self::Mapping(entries) => {
                let mut values = serde_json::Map::new();
                let mut several = serde_json::Map::new();
                for (key, tree) in entries {
                    let separator = if path.is_empty() { "" } else { "." };
                    let path = format!("{path}{separator}{key}");
                    let value = tree.value_at(&path, twice);
                    let Some(first) = values.insert(key.clone(), value) else { continue };
                    let all = several.entry(key).or_insert_with(|| {
                        twice.push(path);
                        Value::Array(Vec::new())
                    });
                    if let Value::Array(all) = all {
                        all.push(first);
                    }
                }
                for (key, all) in several {
                    if let (Value::Array(mut all), Some(last)) = (all, values.remove(&key)) {
                        all.push(last);
                        values.insert(key, Value::Array(all));
                    }
                }
                Value::Object(values)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        // No number and infinity are texts: null would be as good as absent.
        let number = Number::from_f64(value).map(Value::Number);
        Ok(Tree::Scalar(number.unwrap_or_else(|| Value::String(value.to_string()))))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Tree, D::Error> {
        Tree::deserialize(source)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Mapping(entries))
    }
}
