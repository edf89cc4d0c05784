// SPDX-License-Identifier: Apache-2.0
//! A key without a value, as `fromSource:`, is absent: an API server takes it so.

use serde_json::Value;

/// Removes keys without a value, at any depth; a label or an annotation has the empty text instead.
/// An item of a sequence stays, and is no item: an API server refuses it too.
pub(super) fn without_nulls(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata") {
        for texts in ["labels", "annotations"] {
            let texts = metadata.get_mut(texts).and_then(Value::as_object_mut);
            let nulls = texts.into_iter().flat_map(serde_json::Map::values_mut);
            nulls.filter(|text| text.is_null()).for_each(|text| *text = "".into());
        }
    }
    prune(value);
}

/// As deep as a value can be: its parser bounds that.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_without_a_value_go_and_items_stay() {
        let mut value = json!({
            "metadata": {"labels": {"a": null}, "annotations": null, "uid": null},
            "spec": {"process": {"matchPaths": [{"path": "/a", "fromSource": null}, null]}},
        });
        without_nulls(&mut value);
        let process = json!({"matchPaths": [{"path": "/a"}, null]});
        let expected = json!({"metadata": {"labels": {"a": ""}}, "spec": {"process": process}});
        assert_eq!(value, expected);
    }
}
