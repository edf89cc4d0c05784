// SPDX-License-Identifier: Apache-2.0
//! KubeArmorPolicy: the object, its specification and its selector.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Metadata,
    metadata::strict,
    sections::{Action, Attributes, Capabilities, File, Network, Preset, Process, Syscalls},
};

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Document")]
pub struct KubeArmorPolicy {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// What it asks.
    pub spec: PolicySpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(deserialize_with = "strict")]
    metadata: Metadata,
    #[serde(default)]
    spec: PolicySpec,
    #[serde(default, rename = "status")]
    _status: IgnoredAny,
}

/// What a policy asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicySpec {
    /// Which pods.
    pub selector: Selector,
    /// Rules on programs.
    pub process: Process,
    /// Rules on files.
    pub file: File,
    /// Rules on sockets and host names.
    pub network: Network,
    /// Rules on capabilities.
    pub capabilities: Capabilities,
    /// Rules on system calls.
    pub syscalls: Syscalls,
    /// Ready-made restrictions.
    pub presets: Vec<Preset>,
    /// Raw AppArmor profile text.
    pub apparmor: String,
    /// 1 to 10; zero is unset.
    pub severity: u32,
    /// Tags of events.
    pub tags: Vec<String>,
    /// Text of events.
    pub message: String,
    /// Action of rules that name none.
    pub action: SpecAction,
}

/// Action of a specification: empty is Block, and lower case is taken here (only here).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum SpecAction {
    /// Permit.
    #[serde(alias = "allow")]
    Allow,
    /// Permit and report.
    #[serde(alias = "audit")]
    Audit,
    /// Deny and report.
    #[default]
    #[serde(alias = "block", alias = "")]
    Block,
}

/// Which pods a policy is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// All of these labels.
    pub match_labels: BTreeMap<String, String>,
    /// And all of these expressions.
    pub match_expressions: Vec<MatchExpression>,
}

/// A set of labels that a pod has, or has not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchExpression {
    /// `label`.
    pub key: String,
    /// In or not in.
    pub operator: Operator,
    /// Whole labels, as `key=value`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// Operator of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Operator {
    /// One of the values suffices.
    In,
    /// Each of the values excludes.
    NotIn,
}

impl From<Document> for KubeArmorPolicy {
    fn from(Document { metadata, spec, .. }: Document) -> Self {
        Self { metadata, spec }
    }
}

// === impl PolicySpec ===

impl PolicySpec {
    /// What sections and rules inherit.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        let action = match self.action {
            SpecAction::Allow => Action::Allow,
            SpecAction::Audit => Action::Audit,
            SpecAction::Block => Action::Block,
        };
        Attributes {
            severity: self.severity,
            tags: &self.tags,
            message: &self.message,
            action: Some(action),
        }
    }
}
