// SPDX-License-Identifier: Apache-2.0
//! Which containers a policy is about.
//!
//! A policy, a pod and the name of a container flow in, yes or no flows out. Labels, expressions
//! and container names are a conjunction, in whatever order they are written. A part of a selector
//! that means nothing selects: `resolve` reports it, and until it is mended the containers that it
//! might be about get no other rules.

use std::collections::BTreeSet;

use crate::crd::{KubeArmorPolicy, MatchExpression, Metadata, Operator, Pod, Selector};

/// Label key of a selector that stands for container names.
pub const CONTAINER_NAME_KEY: &str = "kubearmor.io/container.name";

/// Annotation by which a pod opts out.
const POLICY_ANNOTATION: &str = "kubearmor-policy";

/// The one key of expressions that a policy of a namespace may have.
pub(crate) const LABEL_KEY: &str = "label";

/// The key of expressions on namespaces that a policy of the cluster has.
const NAMESPACE_KEY: &str = "namespace";

/// A set of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Only these; none for all.
    only: Option<BTreeSet<String>>,
    /// Without these.
    except: BTreeSet<String>,
}

/// What a pod wants of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// Rules are enforced.
    Enforced,
    /// Rules are only reported. Not built yet: they are enforced, and a finding says so.
    Audited,
    /// No policy selects the pod.
    Disabled,
}

/// The containers that a selector names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerNames {
    /// Names; empty for all containers.
    pub names: BTreeSet<String>,
    /// Whether the list has the brackets that KubeArmor cuts off unseen.
    pub bracketed: bool,
}

/// What the pod's annotation says; anything unknown is enforced.
#[must_use]
pub fn enrolment(pod: &Pod) -> Enrolment {
    match pod.metadata.annotations.get(POLICY_ANNOTATION).map(String::as_str) {
        Some("disabled") => Enrolment::Disabled,
        Some("audited") => Enrolment::Audited,
        _ => Enrolment::Enforced,
    }
}

/// Whether a policy is about this container of this pod.
#[must_use]
pub fn selects(policy: &KubeArmorPolicy, pod: &Pod, container: &str) -> bool {
    enrolment(pod) != Enrolment::Disabled
        && policy.metadata.namespace == pod.metadata.namespace
        && matches(&policy.spec.selector, &pod.metadata, container)
}

/// Whether a selector takes this container of a pod with this metadata.
#[must_use]
pub fn matches(selector: &Selector, pod: &Metadata, container: &str) -> bool {
    let labels = selector
        .match_labels
        .iter()
        .filter(|(key, _)| *key != CONTAINER_NAME_KEY)
        .all(|(key, value)| pod.labels.get(key) == Some(value));
    labels
        && expressions_match(&selector.match_expressions, pod)
        && container_names(selector).is_none_or(|chosen| chosen.has(container))
}

/// The container names of a selector; none if it has no such key.
#[must_use]
pub fn container_names(selector: &Selector) -> Option<ContainerNames> {
    let value = selector.match_labels.get(CONTAINER_NAME_KEY)?.trim();
    // No container name has a bracket: one that stands alone is a slip, not a name.
    let names = value.trim_start_matches('[').trim_end_matches(']').split(',').map(str::trim);
    Some(ContainerNames {
        names: names.filter(|name| !name.is_empty()).map(Into::into).collect(),
        bracketed: value.is_empty() || (value.starts_with('[') && value.ends_with(']')),
    })
}

/// The namespaces that the expressions of a policy of the cluster take.
#[must_use]
pub fn namespaces_of_cluster(selector: &Selector) -> Namespaces {
    let of = |operator| {
        let entries = selector.match_expressions.iter();
        let entries =
            entries.filter(move |entry| entry.key == NAMESPACE_KEY && entry.operator == operator);
        entries.flat_map(|entry| entry.values.iter().cloned())
    };
    let only: BTreeSet<_> = of(Operator::In).collect();
    let only = (!only.is_empty()).then_some(only);
    Namespaces { only, except: of(Operator::NotIn).collect() }
}

// === impl Namespaces ===

impl Namespaces {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// One of them.
    #[must_use]
    pub fn one(name: &str) -> Self {
        Self { only: Some(BTreeSet::from([name.to_owned()])), except: BTreeSet::new() }
    }

    /// Whether the namespace is one of them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name)) && !self.except.contains(name)
    }
}

// === impl ContainerNames ===

impl ContainerNames {
    /// Whether the container is one of them.
    #[must_use]
    pub fn has(&self, container: &str) -> bool {
        self.names.is_empty() || self.names.contains(container)
    }
}

fn expressions_match(expressions: &[MatchExpression], pod: &Metadata) -> bool {
    let has = |label: &String| {
        label
            .split_once('=')
            .is_some_and(|(key, value)| pod.labels.get(key).is_some_and(|actual| actual == value))
    };
    let values = |operator| {
        expressions
            .iter()
            .filter(move |entry| entry.key == LABEL_KEY && entry.operator == operator)
            .flat_map(|entry| &entry.values)
    };
    let mut wanted = values(Operator::In).peekable();
    let included =
        wanted.peek().is_none() || wanted.any(|label| !label.contains('=') || has(label));
    included && !values(Operator::NotIn).any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(labels: &[(&str, &str)]) -> Metadata {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Metadata { labels, ..Metadata::default() }
    }

    fn selector(labels: &[(&str, &str)], expressions: &[(Operator, &[&str])]) -> Selector {
        let entry = |(operator, values): &(Operator, &[&str])| MatchExpression {
            key: LABEL_KEY.into(),
            operator: *operator,
            values: values.iter().map(|value| (*value).into()).collect(),
        };
        Selector {
            match_labels: pod(labels).labels,
            match_expressions: expressions.iter().map(entry).collect(),
        }
    }

    #[test]
    fn an_empty_selector_takes_every_pod() {
        assert!(matches(&Selector::default(), &pod(&[]), "c"));
    }

    #[test]
    fn labels_and_expressions_are_a_conjunction() {
        let chosen = selector(&[("app", "web")], &[(Operator::In, &["tier=a", "tier=b"])]);
        assert!(matches(&chosen, &pod(&[("app", "web"), ("tier", "b")]), "c"));
        assert!(!matches(&chosen, &pod(&[("app", "web")]), "c"));
        assert!(!matches(&chosen, &pod(&[("tier", "b")]), "c"));
    }

    #[test]
    fn in_and_not_in_hold_in_either_order() {
        let (yes, no): (&[&str], &[&str]) = (&["a=1", "a=2"], &["b=1"]);
        let orders = [
            [(Operator::In, yes), (Operator::NotIn, no)],
            [(Operator::NotIn, no), (Operator::In, yes)],
        ];
        for order in orders {
            let chosen = selector(&[], &order);
            assert!(matches(&chosen, &pod(&[("a", "2")]), "c"));
            assert!(!matches(&chosen, &pod(&[("a", "2"), ("b", "1")]), "c"));
            assert!(!matches(&chosen, &pod(&[("c", "1")]), "c"));
        }
    }

    #[test]
    fn several_in_entries_are_alternatives() {
        let chosen = selector(&[], &[(Operator::In, &["a=1"]), (Operator::In, &["b=1"])]);
        assert!(matches(&chosen, &pod(&[("b", "1")]), "c"));
    }

    #[test]
    fn a_value_that_is_no_label_selects_until_it_is_mended() {
        assert!(matches(&selector(&[], &[(Operator::In, &["web"])]), &pod(&[]), "c"));
        assert!(matches(&selector(&[], &[(Operator::NotIn, &["web"])]), &pod(&[]), "c"));
    }

    #[test]
    fn container_names_are_read_with_and_without_brackets() {
        for (value, chosen, bracketed) in [
            ("[web, sidecar]", true, true),
            ("web", true, false),
            ("lb", false, false),
            ("lb,web", true, false),
            ("[web", true, false),
            ("[]", true, true),
            ("", true, true),
        ] {
            let selector = selector(&[(CONTAINER_NAME_KEY, value)], &[]);
            assert_eq!(matches(&selector, &pod(&[]), "web"), chosen, "{value}");
            assert_eq!(container_names(&selector).map(|names| names.bracketed), Some(bracketed));
        }
    }

    #[test]
    fn a_pod_that_opts_out_is_never_selected() {
        let value = serde_json::json!({
            "apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy",
            "metadata": {"name": "p"},
        });
        let policy: KubeArmorPolicy = serde_json::from_value(value).unwrap();
        let mut pod = Pod::default();
        assert!(selects(&policy, &pod, "c"));
        pod.metadata.annotations.insert(POLICY_ANNOTATION.into(), "disabled".into());
        assert!(!selects(&policy, &pod, "c"));
    }
}
