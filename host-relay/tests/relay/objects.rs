// SPDX-License-Identifier: Apache-2.0
//! Kubernetes objects of the tests, and the containers that the guest reports for them.

use kadapter_proto::guest::v1::{ContainerChange, ContainerState};
use policy_model::Target;

/// A policy that blocks programs in pods with label `app: web`.
pub(crate) fn policy(name: &str, programs: &[&str]) -> String {
    let paths: Vec<_> = programs.iter().map(|path| format!("{{path: {path}}}")).collect();
    format!(
        "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n\
         metadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  severity: 5\n  tags: [demo]\n  message: not here\n  \
         selector: {{matchLabels: {{app: web}}}}\n  \
         process: {{matchPaths: [{}]}}\n",
        paths.join(", ")
    )
}

/// A pod with its name as label.
pub(crate) fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\n\
         metadata: {{name: {name}, namespace: shop, uid: uid-{name}, labels: {{app: {name}}}}}\n\
         spec: {{containers: [{{name: main}}]}}\n"
    )
}

/// The container of a pod.
pub(crate) fn target(pod: &str) -> Target {
    Target {
        namespace: "shop".into(),
        pod: pod.into(),
        pod_uid: format!("uid-{pod}"),
        container_name: "main".into(),
    }
}

/// The report that the container of a pod waits at the gate.
pub(crate) fn waiting(pod: &str) -> ContainerChange {
    ContainerChange {
        container_id: format!("id-{pod}"),
        target: Some(target(pod).into()),
        state: ContainerState::Waiting.into(),
        ..ContainerChange::default()
    }
}
