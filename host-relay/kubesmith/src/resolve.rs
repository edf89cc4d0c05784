// SPDX-License-Identifier: Apache-2.0
//! Inheritance and normal paths: what each rule of a policy says once nothing is left implicit.
//!
//! A policy flows in, its effective rules flow out, or every problem that it has, each with the
//! field and the remedy. Today the stage takes names as they are written: it does not know the
//! container's file system, so a path that is a symbolic link there stays one. Kinds of rules that
//! are not built yet are problems, never silently left out.

mod names;
mod path;
mod rules;
mod unbuilt;

use std::fmt;

use crate::{
    crd::{Action, Attributes, KubeArmorPolicy, Selector},
    effective::{EffectivePolicy, PolicyRef},
    finding::{Code, Finding},
    select::{LABEL_KEY, container_names},
};

/// Highest severity of the language.
const MAX_SEVERITY: u32 = 10;

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path of the field.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A policy that makes no rules as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError {
    /// The policy.
    pub policy: PolicyRef,
    /// All its problems, in the order of the object.
    pub problems: Vec<Problem>,
}

/// What a rule has after inheritance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inherited {
    pub(crate) severity: u32,
    pub(crate) tags: Vec<String>,
    pub(crate) message: String,
    pub(crate) action: policy_model::Action,
}

/// Resolves one policy.
///
/// # Errors
/// Every problem that the policy has.
pub fn resolve(policy: &KubeArmorPolicy) -> Result<EffectivePolicy, ResolveError> {
    let reference = policy_ref(policy);
    let mut problems = selector_problems(&policy.spec.selector);
    let mut rules = Vec::new();
    for drafted in rules::draft(policy) {
        match drafted.finish(&reference) {
            Ok(rule) => rules.push(rule),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(unbuilt::sections(&policy.spec));
    if problems.is_empty() {
        Ok(EffectivePolicy { policy: reference, rules, options: Vec::new() })
    } else {
        Err(ResolveError { policy: reference, problems })
    }
}

/// What its author should know about a policy that resolves.
#[must_use]
pub fn advise(policy: &KubeArmorPolicy, effective: &EffectivePolicy) -> Vec<Finding> {
    let finding = |code, field: &str, message: &str| Finding {
        code,
        policy: Some(effective.policy.clone()),
        field: field.into(),
        message: message.into(),
        counter_example: None,
    };
    let mut findings = Vec::new();
    if effective.rules.is_empty() {
        let message = "the policy has no rule; add one below process or file, or delete it";
        findings.push(finding(Code::NoRules, "spec", message));
    }
    if container_names(&policy.spec.selector).is_some_and(|names| !names.bracketed) {
        let message = "read as a list of names; write it in brackets, or KubeArmor cuts off the \
                       first and the last letter";
        let field = "spec.selector.matchLabels.kubearmor.io/container.name";
        findings.push(finding(Code::ContainerNames, field, message));
    }
    for (at, rule) in policy.spec.process.match_paths.iter().enumerate() {
        let blank = |argument: &&String| argument.contains(char::is_whitespace);
        if let Some(argument) = rule.allowed_args.iter().find(blank) {
            let field = format!("spec.process.matchPaths[{at}].allowedArgs");
            let message = format!(
                "`{argument}` passes as one argument only; write each word as an item of its own"
            );
            findings.push(finding(Code::BlankInArgument, &field, &message));
        }
    }
    findings.extend(names::advise(policy, effective));
    findings
}

/// Name of a policy.
#[must_use]
pub fn policy_ref(policy: &KubeArmorPolicy) -> PolicyRef {
    PolicyRef {
        namespace: policy.metadata.namespace.clone(),
        name: policy.metadata.name.clone(),
        uid: policy.metadata.uid.clone(),
    }
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

// === impl ResolveError ===

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KubeArmorPolicy {}: ", self.policy)?;
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ResolveError {}

// === impl Inherited ===

impl Inherited {
    /// Takes each attribute from the innermost level that sets it; the levels come innermost
    /// first. Without any action it is Block.
    pub(crate) fn of(levels: &[Attributes<'_>]) -> Self {
        let message = levels.iter().map(|level| level.message).find(|text| !text.is_empty());
        let tags = levels.iter().map(|level| level.tags).find(|tags| !tags.is_empty());
        let severity = levels.iter().map(|level| level.severity).find(|severity| *severity != 0);
        let action = match levels.iter().find_map(|level| level.action) {
            Some(Action::Allow) => policy_model::Action::Allow,
            Some(Action::Audit) => policy_model::Action::Audit,
            Some(Action::Block) | None => policy_model::Action::Block,
        };
        Self {
            severity: severity.unwrap_or_default(),
            tags: tags.unwrap_or_default().to_vec(),
            message: message.unwrap_or_default().into(),
            action,
        }
    }
}

fn selector_problems(selector: &Selector) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, entry) in selector.match_expressions.iter().enumerate() {
        let field = format!("spec.selector.matchExpressions[{index}]");
        if entry.key != LABEL_KEY {
            let message = format!("`{}` is no key of a KubeArmorPolicy; write `label`", entry.key);
            problems.push(Problem::new(format!("{field}.key"), message));
        }
        if entry.values.is_empty() {
            let message = "no values; list labels as `key=value`, or remove the expression";
            problems.push(Problem::new(format!("{field}.values"), message));
        }
        for (number, value) in entry.values.iter().enumerate() {
            if !value.contains('=') {
                let message = format!("`{value}` is no label; write `key=value`");
                problems.push(Problem::new(format!("{field}.values[{number}]"), message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests;
