// SPDX-License-Identifier: Apache-2.0
//! The spine: the stages that make a rule set, in their order.
//!
//! The inputs of one container flow in, its rule set with provenance and findings flows out, or the
//! reason why there is none. It decides nothing itself: each stage is `kubesmith`'s.

use std::collections::BTreeSet;

use kubesmith::{
    Code, EffectivePolicy, Finding, PolicyRef,
    compile::{CompileError, Compiled, compile, postures},
    crd::KubeArmorPolicy,
    harden::{self, InvalidLevel, Level, harden, level_of},
    resolve::{ResolveError, advise, policy_ref, resolve},
    select::{Enrolment, enrolment},
    verify::{Verdict, Verified, verify},
};
use policy_model::{Postures, RuleId, eval::UnsupportedRule};

use crate::index::Inputs;

/// What holds where neither policy nor namespace says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Postures.
    pub postures: Postures,
    /// Level of hardening.
    pub level: Level,
}

/// What a container should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Rule set and provenance.
    pub compiled: Compiled,
    /// The policies that select it.
    pub policies: Vec<PolicyRef>,
    /// What their authors should know.
    pub findings: Vec<Finding>,
}

/// Why there is no rule set. What is in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A policy has problems.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A level cannot be had.
    #[error(
        "KubeArmorPolicy {policy}: annotation kadapter.io/level, its own or its namespace's: {source}"
    )]
    Level {
        /// The policy.
        policy: PolicyRef,
        /// Why.
        source: InvalidLevel,
    },
    /// A rule cannot be judged.
    #[error(transparent)]
    Verify(#[from] UnsupportedRule),
    /// The guest would refuse the set.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Makes the rule set of one container.
///
/// # Errors
/// The first stage that cannot do its work.
pub fn run(inputs: &Inputs<'_>, defaults: &Defaults) -> Result<Plan, PipelineError> {
    let (postures, mut findings) = postures(defaults.postures, inputs.namespace);
    findings.extend(audited(inputs));
    let mut policies = Vec::new();
    let mut hardened = Vec::new();
    for policy in &inputs.policies {
        let effective = resolve(policy)?;
        findings.extend(advise(policy, &effective));
        let level = level_of(policy, inputs.namespace, defaults.level)
            .map_err(|source| PipelineError::Level { policy: policy_ref(policy), source })?;
        findings.extend(harden::advise(&effective, level));
        hardened.push(harden(effective.clone(), level));
        policies.push(effective);
    }
    findings.extend(bypasses(&policies, &hardened, postures)?);
    let compiled = compile(inputs.target.clone(), postures, &hardened)?;
    let policies = policies.into_iter().map(|effective| effective.policy).collect();
    Ok(Plan { compiled, policies, findings })
}

/// Whether a policy makes rules at all, whatever it selects.
///
/// # Errors
/// Its problems.
pub fn check(policy: &KubeArmorPolicy, defaults: &Defaults) -> Result<Vec<Finding>, PipelineError> {
    let effective = resolve(policy)?;
    let level = level_of(policy, None, defaults.level)
        .map_err(|source| PipelineError::Level { policy: policy_ref(policy), source })?;
    let mut findings = advise(policy, &effective);
    findings.extend(harden::advise(&effective, level));
    Ok(findings)
}

/// Ways around the rules as written, each with whether the added rules close it.
fn bypasses(
    written: &[EffectivePolicy],
    hardened: &[EffectivePolicy],
    postures: Postures,
) -> Result<Vec<Finding>, UnsupportedRule> {
    let open: BTreeSet<RuleId> = verify(hardened, postures)?
        .into_iter()
        .filter(|found| !matches!(found.verdict, Verdict::Holds { .. }))
        .map(|found| found.rule)
        .collect();
    let finding = |found: Verified| {
        let Verdict::Bypassed { counter_example } = &found.verdict else { return None };
        let (code, message) = if open.contains(&found.rule) {
            (
                Code::Bypass,
                "the program still runs under another name; use a higher level of hardening, and \
                 block what other rules permit",
            )
        } else {
            (
                Code::BypassClosed,
                "by name alone the program would still run; what the level adds denies it, unless \
                 the guest finds a file of many names and reports a residue",
            )
        };
        Some(Finding {
            code,
            counter_example: Some(counter_example.clone()),
            policy: Some(found.policy),
            field: found.field,
            message: message.into(),
        })
    };
    let written = verify(written, postures)?;
    let unsearched = written.iter().find(|found| found.verdict == Verdict::Unsearched);
    let unsearched = unsearched.cloned().map(unsearched_finding);
    Ok(written.into_iter().filter_map(finding).chain(unsearched).collect())
}

/// Of the first one; those after it are in the same case.
fn unsearched_finding(found: Verified) -> Finding {
    Finding {
        code: Code::Unsearched,
        counter_example: None,
        policy: Some(found.policy),
        field: found.field,
        message: "from here on nobody looked for other names under which programs run: too many \
                  rules speak about the same ones; merge rules on one directory"
            .into(),
    }
}

fn audited(inputs: &Inputs<'_>) -> Option<Finding> {
    (enrolment(inputs.pod) == Enrolment::Audited).then(|| Finding {
        code: Code::Audited,
        policy: None,
        field: "metadata.annotations.kubearmor-policy".into(),
        message: "`audited` is not built yet, rules are enforced; use Audit rules instead".into(),
        counter_example: None,
    })
}

#[cfg(test)]
mod tests {
    use kubesmith::crd::{self, Object, Pod};
    use policy_model::Target;
    use serde_json::{Value, json};

    use super::*;

    fn policy(spec: Value) -> KubeArmorPolicy {
        let value = json!({
            "apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy",
            "metadata": {"name": "p"}, "spec": spec,
        });
        let Ok(Object::Policy(policy)) = crd::decode(value) else { panic!("no policy") };
        *policy
    }

    fn planned(policy: &KubeArmorPolicy, level: Level) -> Result<Plan, PipelineError> {
        let (target, pod) = (Target::default(), Pod::default());
        let inputs = Inputs { target: &target, pod: &pod, namespace: None, policies: vec![policy] };
        run(&inputs, &Defaults { level, ..Defaults::default() })
    }

    #[test]
    fn findings_tell_whether_the_level_closes_the_bypass() {
        let policy = policy(json!({"process": {"matchPaths": [{"path": "/usr/bin/apt"}]}}));
        let closed = [Code::Hardened, Code::BypassClosed];
        for (level, codes, rules) in [
            (Level::Literal, &[Code::Bypass][..], 1),
            (Level::Base, &closed, 2),
            (Level::Contained, &closed, 2),
            (Level::Sealed, &closed, 2),
        ] {
            let plan = planned(&policy, level).unwrap();
            assert_eq!(plan.compiled.rules.rules().len(), rules);
            let found: Vec<_> = plan.findings.iter().map(|found| found.code).collect();
            assert_eq!(found, codes, "{level}");
        }
    }

    #[test]
    fn a_policy_with_a_problem_makes_no_rule_set() {
        let policy = policy(json!({"network": {"matchProtocols": [{"protocol": "raw"}]}}));
        let error = planned(&policy, Level::Base).unwrap_err().to_string();
        assert!(
            error.contains("KubeArmorPolicy default/p: spec.network.matchProtocols[0]"),
            "{error}"
        );
    }

    #[test]
    fn no_policy_makes_an_empty_rule_set() {
        let (target, pod) = (Target::default(), Pod::default());
        let inputs = Inputs { target: &target, pod: &pod, namespace: None, policies: Vec::new() };
        let plan = run(&inputs, &Defaults::default()).unwrap();
        assert!(plan.compiled.rules.rules().is_empty());
    }
}
