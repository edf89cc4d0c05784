// SPDX-License-Identifier: Apache-2.0
//! Files of the policy directory, through all stages to rule sets that a guest takes.

use std::path::Path;

use host_relay::{
    index::Inputs,
    pipeline::{self, Defaults},
    watch::{Change, Files},
};
use kubesmith::{
    crd::{KubeArmorPolicy, Namespace, Object, Pod},
    select::selects,
};
use policy_model::{Target, wire};

use crate::{entropy::Entropy, grammar::Grammar};

const VALID: &[&[u8]] = &[
    include_bytes!("../../../../host-relay/kubesmith/tests/golden/arguments/policy.yaml"),
    include_bytes!("../../../../host-relay/kubesmith/tests/golden/block-program/policy.yaml"),
    include_bytes!("../../../../host-relay/kubesmith/tests/golden/not-built/policy.yaml"),
    include_bytes!("../../../../host-relay/kubesmith/tests/golden/two-policies/policy.yaml"),
    include_bytes!("../../../../host-relay/kubesmith/tests/golden/whitelist-from-source/policy.yaml"),
    b"{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"web-0\", \"namespace\": \"shop\"}, \"spec\": {\"containers\": [{\"name\": \"web\"}]}}\n",
    b"apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: &m {name: a, labels: {a: b}}\nspec:\n  process: &p\n    matchPaths: [{path: /usr/bin/apt, fromSource: [{path: /bin/sh}]}]\n    severity: 3\n    tags: [a, b]\n  file: {matchDirectories: [{dir: /etc/, recursive: true, action: Audit}]}\n  action: block\n---\napiVersion: v1\nkind: Pod\nmetadata: *m\nspec: {containers: [{name: web}]}\n",
    b"apiVersion: v1\nkind: List\nitems:\n- apiVersion: security.kubearmor.com/v1\n  kind: KubeArmorPolicy\n  metadata: {name: a, namespace: shop, annotations: }\n  spec:\n    selector: {matchLabels: {app: web}}\n    process:\n      matchPaths: [{path: /usr/bin/apt, fromSource: }]\n- {apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: shop, labels: {app: web}}, spec: {containers: [{name: web}]}}\n",
];

const WORDS: &[&[u8]] = &[
    b"\n",
    b"  ",
    b": ",
    b"- ",
    b"---\n",
    b"...\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"&a ",
    b"*a ",
    b"*a, ",
    b"<<: *a\n",
    b"? ",
    b"| ",
    b"> ",
    b"!!binary ",
    b"!!int ",
    b"!x ",
    b"%YAML 1.2\n",
    b"#",
    b"'",
    b"\"",
    b"\\x00",
    b"\\U0010ffff",
    b"\t",
    b"\r",
    b"\xef\xbb\xbf",
    b"\xff",
    b"~",
    b".nan",
    b".inf",
    b"-0",
    b"0x",
    b"1e999",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999",
    b"matchPaths: ",
    b"matchDirectories: ",
    b"matchPatterns: ",
    b"path: ",
    b"dir: ",
    b"/a/",
    b"//",
    b"/../",
    b"recursive: true",
    b"fromSource: [{path: /bin/sh}]",
    b"allowedArgs: [-m, a, -m]",
    b"selector: {matchLabels: {app: web}}",
    b"kubearmor.io/container.name: '[",
    b"annotations: {kubearmor-policy: audited, kadapter.io/level: literal}",
    b"action: Allow",
    b"severity: 11",
    b"presets: ",
    b"kind: KubeArmorClusterPolicy\n",
    b"kind: List\n",
    b"items: [",
    b"action: ",
    b"spec: {}\n",
];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let path = Path::new(entropy.pick(&["p.yaml", "p.json"]));
    let text = Grammar { valid: VALID, words: WORDS }.write(&mut entropy);
    let mut files = Files::default();
    files.put(path, Ok(Some(text.clone())));
    let Some(batch) = files.batch() else { return };
    for refusal in &batch.refusals {
        let refusal = refusal.to_string();
        assert!(refusal.starts_with("p."), "a refusal names its file: {refusal}");
    }
    files.put(path, Ok(Some(text)));
    assert_eq!(files.batch(), None, "the same text says the same");
    let mut world = World::default();
    for change in batch.changes {
        let Change::Put { object, .. } = change else { panic!("there was nothing before") };
        match object {
            Object::Policy(policy) => world.policies.push(*policy),
            Object::Pod(pod) => world.pods.push(*pod),
            Object::Namespace(namespace) => world.namespaces.push(*namespace),
        }
    }
    world.check();
}

#[derive(Default)]
struct World {
    policies: Vec<KubeArmorPolicy>,
    pods: Vec<Pod>,
    namespaces: Vec<Namespace>,
}

// === impl World ===

impl World {
    fn check(&self) {
        for policy in &self.policies {
            let _ = pipeline::check(policy, None, &Defaults::default());
        }
        for pod in &self.pods {
            for container in &pod.spec.containers {
                self.check_container(pod, &container.name);
            }
        }
    }

    fn check_container(&self, pod: &Pod, container: &str) {
        let namespace = &pod.metadata.namespace;
        let target = Target {
            namespace: namespace.clone(),
            pod: pod.metadata.name.clone(),
            pod_uid: pod.metadata.uid.clone(),
            container_name: container.into(),
        };
        let inputs = Inputs {
            target: &target,
            pod,
            namespace: self.namespaces.iter().find(|it| it.metadata.name == *namespace),
            policies: self.policies.iter().filter(|it| selects(it, pod, container)).collect(),
        };
        let Ok(plan) = pipeline::run(&inputs, &Defaults::default()) else { return };
        let rules = &plan.compiled.rules;
        assert_eq!(wire::decode(&wire::encode(rules)).as_ref(), Ok(rules));
        assert!(rules.rules().iter().all(|rule| plan.compiled.provenance.contains_key(&rule.id)));
    }
}
