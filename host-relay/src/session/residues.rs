// SPDX-License-Identifier: Apache-2.0
//! What guests could not put into force as asked, told once for each policy and image.
//!
//! Residues of one rule set flow in, lines for the log flow out: one for each policy and reason, since
//! a policy that lists the programs of all distributions lacks most of them in any one image. What
//! was told of the same image is not told again, by whatever guest. It never forgets a residue: the
//! API shows all that a container has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use kadapter_proto::guest::v1::{Residue, ResidueReason};
use policy_model::{Digest, RuleId, Target};

use super::texts::shown;
use crate::pipeline::Plan;

/// Residues that one line names: a large generated policy has thousands of absent paths.
const MAX_NAMED: usize = 8;

/// Lines that are remembered: of a hundred pods of a node, with ten policies and four reasons each.
/// When there are more all are told anew.
const MAX_TOLD: usize = 4096;

/// What was told, shared by all sessions of a relay.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<BTreeSet<Digest>>>);

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The policy; the set if it is about all of it.
    pub(super) policy: String,
    /// Whether the files are only not there.
    pub(super) is_absence: bool,
    /// Paths and what was found, the first ones.
    pub(super) details: Vec<String>,
    /// How many more there are.
    pub(super) more: usize,
}

// === impl Told ===

impl Told {
    /// The lines that are new. Where no image is known each container has its own.
    pub(super) fn news(&self, target: &Target, plan: &Plan, residues: &[Residue]) -> Vec<Line> {
        let place = match &*plan.image {
            "" => target.to_string(),
            image => image.to_owned(),
        };
        // A session that panicked has left a set that is whole.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() > MAX_TOLD {
            told.clear();
        }
        let groups = groups(plan, residues).into_iter();
        let new = groups.filter(|((policy, reason), details)| {
            let texts = [place.as_str(), policy.as_str(), reason.as_str_name()];
            let texts = texts.into_iter().chain(details.iter().copied());
            told.insert(Digest::of(texts.collect::<Vec<_>>().join("\0").as_bytes()))
        });
        new.map(|((policy, reason), details)| Line {
            policy,
            is_absence: reason == ResidueReason::Absent,
            details: details.iter().take(MAX_NAMED).map(|it| (*it).to_owned()).collect(),
            more: details.len().saturating_sub(MAX_NAMED),
        })
        .collect()
    }
}

type Groups<'a> = BTreeMap<(String, ResidueReason), BTreeSet<&'a str>>;

fn groups<'a>(plan: &Plan, residues: &'a [Residue]) -> Groups<'a> {
    let mut groups = Groups::new();
    for residue in residues {
        let provenance = plan.compiled.provenance.get(&RuleId(residue.rule_id));
        let policy = provenance.map(|it| it.policy.to_string()).unwrap_or_default();
        groups.entry((policy, residue.reason())).or_default().insert(shown(&residue.detail));
    }
    groups
}

#[cfg(test)]
mod tests {
    use kubesmith::crd::{self, Object};
    use serde_json::json;

    use super::*;
    use crate::{
        index::Inputs,
        pipeline::{Defaults, run},
    };

    fn target(pod: &str) -> Target {
        Target { pod: pod.into(), container_name: "main".into(), ..Target::default() }
    }

    /// Of a container with this image, under a policy on two programs.
    fn plan(image: &str) -> Plan {
        let decoded = |value| crd::decode(value).unwrap();
        let (Object::Pod(pod), Object::Policy(policy)) = (
            decoded(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
                "spec": {"containers": [{"name": "main", "image": image}]},
            })),
            decoded(json!({
                "apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy",
                "metadata": {"name": "p"},
                "spec": {"process": {"matchPaths": [{"path": "/usr/bin/apt"}, {"path": "/usr/bin/yum"}]}},
            })),
        ) else {
            panic!("a pod and a policy")
        };
        let target = target("web");
        let inputs =
            Inputs { target: &target, pod: &pod, namespace: None, policies: vec![&*policy] };
        run(&inputs, &Defaults::default()).unwrap()
    }

    /// Every rule lacks its file.
    fn absent(plan: &Plan) -> Vec<Residue> {
        let rules = plan.compiled.rules.rules().iter();
        let residue = |rule: &policy_model::Rule| Residue {
            rule_id: rule.id.0,
            reason: ResidueReason::Absent.into(),
            detail: format!("{:?}", rule.object),
        };
        rules.map(residue).collect()
    }

    #[test]
    fn what_an_image_lacks_is_one_line_of_a_policy_and_is_told_once() {
        let (told, plan) = (Told::default(), plan("nginx:1"));
        let residues = absent(&plan);
        let lines = told.news(&target("a"), &plan, &residues);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((line.policy.as_str(), line.is_absence), ("default/p", true));
        assert_eq!(line.details.len(), residues.len());
        assert_eq!(told.news(&target("b"), &plan, &residues), []);
    }

    #[test]
    fn another_image_reason_or_file_is_news() {
        let (told, plan) = (Told::default(), plan("nginx:1"));
        let mut residues = absent(&plan);
        told.news(&target("a"), &plan, &residues);
        assert_eq!(told.news(&target("a"), &self::plan("nginx:2"), &residues).len(), 1);
        residues[0].reason = ResidueReason::ManyNames.into();
        assert_eq!(told.news(&target("a"), &plan, &residues).len(), 2);
    }

    #[test]
    fn without_an_image_each_container_has_its_own() {
        let (told, plan) = (Told::default(), plan(""));
        let residues = absent(&plan);
        assert_eq!(told.news(&target("a"), &plan, &residues).len(), 1);
        assert_eq!(told.news(&target("b"), &plan, &residues).len(), 1);
        assert_eq!(told.news(&target("a"), &plan, &residues), []);
    }
}
