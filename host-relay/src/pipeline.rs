// SPDX-License-Identifier: Apache-2.0
//! The spine: the stages that make a rule set, in their order.
//!
//! The inputs of one container flow in, its rule set with provenance and findings flows out, or the
//! reason why there is none. It decides nothing itself: each stage is `kubesmith`'s.

use std::collections::BTreeMap;

use kubesmith::{
    Code, EffectivePolicy, Finding, PolicyRef,
    compile::{CompileError, Compiled, compile, postures},
    crd::{KubeArmorPolicy, Namespace, Pod},
    harden::{self, InvalidLevel, Level, harden, level_of},
    resolve::{ResolveError, advise, policy_ref, resolve},
    select::{Enrolment, enrolment},
    verify::{Verdict, Verified, replaceable, verify},
};
use policy_model::{Postures, RuleId, Target, eval::UnsupportedRule};

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
    /// The container's image; empty if it is not known.
    pub image: String,
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
    findings.extend(replaceable(&hardened, postures));
    let compiled = compile(inputs.target.clone(), postures, &hardened)?;
    let policies = policies.into_iter().map(|effective| effective.policy).collect();
    let image = inputs.pod.spec.image_of(&inputs.target.container_name).unwrap_or_default().into();
    Ok(Plan { compiled, policies, findings, image })
}

/// Whether a policy makes rules at all, whatever it selects.
///
/// # Errors
/// Its problems.
pub fn judge(policy: &KubeArmorPolicy, defaults: &Defaults) -> Result<(), PipelineError> {
    resolve(policy)?;
    level_of(policy, None, defaults.level)
        .map_err(|source| PipelineError::Level { policy: policy_ref(policy), source })?;
    Ok(())
}

/// What a policy would become in a container of its own.
///
/// # Errors
/// As of [`run`].
pub fn check(
    policy: &KubeArmorPolicy,
    namespace: Option<&Namespace>,
    defaults: &Defaults,
) -> Result<Plan, PipelineError> {
    let (target, pod) = (Target::default(), Pod::default());
    run(&Inputs { target: &target, pod: &pod, namespace, policies: vec![policy] }, defaults)
}

/// Ways around the rules as written, each with whether the added rules close it.
fn bypasses(
    written: &[EffectivePolicy],
    hardened: &[EffectivePolicy],
    postures: Postures,
) -> Result<Vec<Finding>, UnsupportedRule> {
    let closed: BTreeMap<RuleId, Verdict> =
        verify(hardened, postures)?.into_iter().map(|found| (found.rule, found.verdict)).collect();
    let mut findings = Vec::new();
    let mut unsearched = None;
    for found in verify(written, postures)? {
        let counter_example = match &found.verdict {
            Verdict::Holds { .. } => continue,
            Verdict::Unsearched => None,
            Verdict::Bypassed { counter_example } => Some(counter_example.clone()),
        };
        // Hardening adds rules, which use up the search earlier: then nothing is known either.
        match (counter_example, closed.get(&found.rule)) {
            (None, _) | (_, None | Some(Verdict::Unsearched)) => {
                unsearched.get_or_insert(found);
            }
            (Some(counter_example), Some(verdict)) => {
                findings.push(bypass(found, counter_example, verdict));
            }
        }
    }
    findings.extend(unsearched.map(unsearched_finding));
    Ok(findings)
}

fn bypass(found: Verified, counter_example: String, hardened: &Verdict) -> Finding {
    let (code, message) = match hardened {
        Verdict::Holds { .. } => (
            Code::BypassClosed,
            "by name alone the program would still run; what the level adds denies it, unless \
             the guest finds a file of many names and reports a residue",
        ),
        Verdict::Bypassed { .. } | Verdict::Unsearched => (
            Code::Bypass,
            "the program still runs under another name; use a higher level of hardening, and \
             block what other rules permit",
        ),
    };
    Finding {
        code,
        counter_example: Some(counter_example),
        policy: Some(found.policy),
        field: found.field,
        message: message.into(),
    }
}

/// Of the first one; those after it are in the same case.
fn unsearched_finding(found: Verified) -> Finding {
    Finding {
        code: Code::Unsearched,
        counter_example: None,
        policy: Some(found.policy),
        field: found.field,
        message: "from here on other names under which programs run were not looked for, so \
                  nothing is known of ways around: too many rules speak about the same ones; merge \
                  rules on one directory"
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
    use kubesmith::crd::{self, Object};
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
    fn what_was_not_searched_is_told_so_and_not_as_a_bypass() {
        // Each program is spoken of by every directory rule: the search ends part of the way, and
        // earlier with the rules that hardening adds.
        let paths: Vec<_> = (0..600).map(|at| json!({"path": format!("/usr/bin/p{at}")})).collect();
        let directory = |at| json!({"dir": "/usr/", "recursive": true, "fromSource": [{"path": format!("/s{at}")}]});
        let directories: Vec<_> = (0..200).map(directory).collect();
        let spec = json!({"process": {"matchPaths": paths, "matchDirectories": directories}});
        let plan = planned(&policy(spec), Level::Base).unwrap();
        let count = |code| plan.findings.iter().filter(|found| found.code == code).count();
        assert_eq!(count(Code::Unsearched), 1);
        assert_eq!(count(Code::Bypass), 0);
        assert!(count(Code::BypassClosed) > 0);
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
