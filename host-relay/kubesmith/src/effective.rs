// SPDX-License-Identifier: Apache-2.0
//! A policy with everything inherited and every path made normal: what the stages pass on.

mod option;

use std::fmt;

use kadapter_proto::policy::v1 as pb;
use policy_model::{Rule, RuleId};
use prost::Message as _;

pub(crate) use option::union;
pub use option::{EffectiveOption, Switch};

/// A policy by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid; empty if the object does not come from an API server.
    pub uid: String,
}

/// Who wanted a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The author of the policy.
    User,
    /// The resolver: another name of what the author meant.
    Resolve,
    /// The hardener: a way around what the author meant.
    Harden,
}

/// Where a rule comes from and what its events say; stays on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The policy.
    pub policy: PolicyRef,
    /// Path of the field, such as `spec.process.matchPaths[0].path`.
    pub field: String,
    /// Who wanted it.
    pub layer: Layer,
    /// 1 to 10; zero if the policy gives none.
    pub severity: u32,
    /// Tags.
    pub tags: Vec<String>,
    /// Message.
    pub message: String,
}

/// One rule and its provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveRule {
    /// The rule; its id names policy, field and content.
    pub rule: Rule,
    /// Its provenance.
    pub provenance: Provenance,
}

/// All that one policy asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EffectivePolicy {
    /// The policy.
    pub policy: PolicyRef,
    /// Its rules.
    pub rules: Vec<EffectiveRule>,
    /// What it asks of the whole container beside them; no switch twice.
    pub options: Vec<EffectiveOption>,
}

// === impl PolicyRef ===

impl PolicyRef {
    /// What tells this policy from all others: the uid, or namespace and name without one.
    #[must_use]
    pub fn key(&self) -> String {
        if self.uid.is_empty() { self.to_string() } else { self.uid.clone() }
    }
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl Layer ===

impl Layer {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Resolve => "resolve",
            Self::Harden => "harden",
        }
    }
}

// === impl EffectiveRule ===

impl EffectiveRule {
    /// Gives the rule its id: equal rules of one field have one id on every node and at any time.
    #[must_use]
    pub fn new(mut rule: Rule, provenance: Provenance) -> Self {
        rule.canonicalise();
        rule.id = RuleId::default();
        let content = pb::Rule::from(&rule).encode_to_vec();
        let policy = provenance.policy.key();
        rule.id = RuleId::of(&[policy.as_bytes(), provenance.field.as_bytes(), &content]);
        Self { rule, provenance }
    }
}

#[cfg(test)]
pub(crate) mod tests;
