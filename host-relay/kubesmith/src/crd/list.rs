// SPDX-License-Identifier: Apache-2.0
//! Lists of objects, as `kubectl get` prints them.

use serde_json::Value;

/// The items of a list of any kind; the value itself if it is none. Items that do not say what they
/// are are what the list is of: an API server leaves it out.
///
/// # Errors
/// The value.
pub fn items(mut value: Value) -> Result<Vec<Value>, Value> {
    let text = |key| value.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let Some(of) = text("kind").and_then(|kind| {
        let start = kind.len().checked_sub("List".len())?;
        kind.get(start..)?.eq_ignore_ascii_case("List").then(|| kind[..start].to_owned())
    }) else {
        return Err(value);
    };
    let api_version = text("apiVersion");
    match value.get_mut("items").map(Value::take) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(mut items)) => {
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                if let (Some(api_version), false) = (&api_version, of.is_empty()) {
                    item.entry("apiVersion").or_insert_with(|| api_version.as_str().into());
                    item.entry("kind").or_insert_with(|| of.as_str().into());
                }
            }
            Ok(items)
        }
        Some(other) => {
            value["items"] = other;
            Err(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_of_the_kind_of_their_list_unless_they_say_otherwise() {
        let list = json!({
            "apiVersion": "v1", "kind": "PodList",
            "items": [{"metadata": {"name": "a"}}, {"apiVersion": "v2", "kind": "Other"}, 3],
        });
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
        let expected = vec![pod, json!({"apiVersion": "v2", "kind": "Other"}), json!(3)];
        assert_eq!(items(list), Ok(expected));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [{"metadata": {}}]});
        assert_eq!(items(list), Ok(vec![json!({"metadata": {}})]));
    }

    #[test]
    fn an_empty_list_has_no_items_and_anything_else_is_no_list() {
        for list in [json!({"kind": "List"}), json!({"kind": "list", "items": null})] {
            assert_eq!(items(list), Ok(Vec::new()));
        }
        for other in
            [json!({"kind": "Pod", "items": []}), json!({"kind": "List", "items": 3}), json!(1)]
        {
            assert_eq!(items(other.clone()), Err(other));
        }
    }
}
