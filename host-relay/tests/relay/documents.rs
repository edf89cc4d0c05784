// SPDX-License-Identifier: Apache-2.0
//! Documents that are no single good object: what they say comes through, or nobody whom they may
//! concern starts without them.

use policy_model::RuleSet;

use crate::{
    objects::{pod, policy, target, waiting},
    rig::Rig,
};

const GROUP: &str = "apiVersion: security.kubearmor.com/v1";

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect::<String>().replacen("    ", "  - ", 1)
}

/// A relay whose guest has waiting containers of the pods `web` and `db`; the first rule set that
/// comes, and what the other container is told.
async fn held(document: &str) -> (RuleSet, String) {
    let files =
        [("web.yaml", pod("web")), ("db.yaml", pod("db")), ("policy.yaml", document.into())];
    let rig = Rig::start(&files);
    rig.guest.report(waiting("web"));
    rig.guest.report(waiting("db"));
    let applied = rig.guest.applied(1).await;
    let is_refused = |sandbox: &kadapter_proto::relay::v1::Sandbox| {
        sandbox.containers.iter().any(|container| !container.error.is_empty())
    };
    let sandbox = rig.sandbox(is_refused).await;
    let told = sandbox.containers.into_iter().map(|container| container.error).collect();
    (applied, told)
}

#[tokio::test]
async fn a_list_as_kubectl_prints_it_is_in_force() {
    let policies = [policy("p", &["/bin/apt"]), policy("q", &["/bin/vi"])];
    let items: String = policies.iter().map(|policy| indented(policy)).collect();
    let list =
        format!("apiVersion: v1\nitems:\n{items}kind: List\nmetadata: {{resourceVersion: \"\"}}\n");
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policies.yaml", list)]);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.rules().len(), 4);
}

#[tokio::test]
async fn whom_an_untyped_policy_may_select_does_not_start_without_it() {
    let good = policy("p", &["/bin/apt"]);
    for (from, to, told) in [
        ("name: p,", "", "`metadata.name` is missing"),
        ("kubearmor.com/v1", "kubearmor.com/v2", "write `security.kubearmor.com/v1`"),
        ("KubeArmorPolicy", "kubearmorpolicy", "write it as `KubeArmorPolicy`"),
        ("KubeArmorPolicy", "KubeArmorPolcy", "kind: not supported"),
        ("severity: 5", "severity: 5\n  severity: 6", "`spec.severity`: the key is there twice"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        let (applied, error) = held(&bad).await;
        assert_eq!(applied.target, target("db"), "{to}");
        for part in ["policy.yaml: document 1: ", told] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

#[tokio::test]
async fn a_policy_of_the_cluster_holds_back_whom_it_may_select() {
    let document = format!(
        "{GROUP}\nkind: KubeArmorClusterPolicy\nmetadata: {{name: c}}\nspec:\n  selector:\n    \
         matchExpressions:\n    - {{key: namespace, operator: In, values: [shop]}}\n    \
         - {{key: label, operator: In, values: [app=web]}}\n"
    );
    let (applied, error) = held(&document).await;
    assert_eq!(applied.target, target("db"));
    assert!(error.contains("KubeArmorClusterPolicy `c`"), "{error}");
}

#[tokio::test]
async fn a_key_without_a_value_is_absent() {
    let nulls = policy("p", &["/bin/apt"])
        .replace("namespace: shop", "namespace: shop, annotations: , labels: ")
        .replace("{path: /bin/apt}", "{path: /bin/apt, fromSource: , ownerOnly: }")
        + "  file:\n  presets:\n";
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", nulls)]);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.rules().len(), 2);
}

#[tokio::test]
async fn a_bad_document_costs_the_others_of_its_file_nothing() {
    let file = format!("{}---\n{}---\nspec: [\n", pod("db"), policy("p", &["/bin/apt"]));
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", file)]);
    let shown = rig.policy(|policy| policy.name == "p").await;
    assert!(shown.error.is_empty(), "{}", shown.error);
}
