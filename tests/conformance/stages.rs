// SPDX-License-Identifier: Apache-2.0
//! The relay's stages on a case's policies, without a relay: the rule set of each container.

use anyhow::{Context as _, Result, bail};
use kubesmith::{
    compile::{compile, postures},
    crd::{self, KubeArmorPolicy, Namespace, Object, Pod},
    harden::{Level, harden, level_of},
    resolve::resolve,
    select::selects,
};
use policy_model::{Postures, RuleSet, Target};

use crate::case::Case;

const NAMESPACE: &str = "shop";

/// The rule set of one container of a case, as the relay makes it.
pub(crate) fn rule_set(case: &Case, container: usize) -> Result<RuleSet> {
    let pod = pod(case, container)?;
    let namespace = namespace(case)?;
    let (postures, _) = postures(Postures::default(), Some(&namespace));
    let mut hardened = Vec::new();
    for policy in policies(case)?.iter().filter(|policy| selects(policy, &pod, "main")) {
        let level = level_of(policy, Some(&namespace), Level::default())?;
        hardened.push(harden(resolve(policy)?, level));
    }
    Ok(compile(Target::default(), postures, &hardened)?.rules)
}

fn pod(case: &Case, container: usize) -> Result<Pod> {
    match crd::decode(case.pod(container, "pod", NAMESPACE)).context("the pod")? {
        Object::Pod(pod) => Ok(*pod),
        _ => bail!("the pod is something else"),
    }
}

fn namespace(case: &Case) -> Result<Namespace> {
    match crd::decode(case.namespace(NAMESPACE)).context("the namespace")? {
        Object::Namespace(namespace) => Ok(*namespace),
        _ => bail!("the namespace is something else"),
    }
}

fn policies(case: &Case) -> Result<Vec<KubeArmorPolicy>> {
    let objects = case.policies(NAMESPACE).into_iter().map(|policy| {
        match crd::decode(policy).context("a policy")? {
            Object::Policy(policy) => Ok(*policy),
            _ => bail!("a policy is something else"),
        }
    });
    objects.collect()
}
