// SPDX-License-Identifier: Apache-2.0
//! Metadata of objects.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny},
};

/// What is used of an object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Namespace; empty for an object of the cluster.
    #[serde(default)]
    pub namespace: String,
    /// Uid given by an API server.
    #[serde(default)]
    pub uid: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// Every field that Kubernetes has, so that `namspace:` is an error and not the default one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Strict {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "generateName")]
    _generate_name: IgnoredAny,
    #[serde(default, rename = "selfLink")]
    _self_link: IgnoredAny,
    #[serde(default, rename = "resourceVersion")]
    _resource_version: IgnoredAny,
    #[serde(default, rename = "generation")]
    _generation: IgnoredAny,
    #[serde(default, rename = "creationTimestamp")]
    _creation_timestamp: IgnoredAny,
    #[serde(default, rename = "deletionTimestamp")]
    _deletion_timestamp: IgnoredAny,
    #[serde(default, rename = "deletionGracePeriodSeconds")]
    _deletion_grace_period_seconds: IgnoredAny,
    #[serde(default, rename = "ownerReferences")]
    _owner_references: IgnoredAny,
    #[serde(default, rename = "finalizers")]
    _finalizers: IgnoredAny,
    #[serde(default, rename = "managedFields")]
    _managed_fields: IgnoredAny,
}

/// Reads metadata and refuses fields that Kubernetes does not have.
pub(super) fn strict<'de, D: Deserializer<'de>>(source: D) -> Result<Metadata, D::Error> {
    let Strict { name, namespace, uid, labels, annotations, .. } = Strict::deserialize(source)?;
    Ok(Metadata { name, namespace, uid, labels, annotations })
}

/// Whether a value is metadata with no field that Kubernetes does not have, apart from its name.
#[must_use]
pub fn is_metadata(value: &serde_json::Value) -> bool {
    let Some(mut fields) = value.as_object().cloned() else { return false };
    fields.insert("name".into(), "".into());
    fields.retain(|_, field| !field.is_null());
    Strict::deserialize(serde_json::Value::Object(fields)).is_ok()
}
