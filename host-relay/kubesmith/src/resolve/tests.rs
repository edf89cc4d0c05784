// SPDX-License-Identifier: Apache-2.0
//! Tests of inheritance, normal paths and problems.

use policy_model::{Action, Category, Match, Object, PathObject, RulePath, Source};
use serde_json::{Value, json};

use super::*;
use crate::{
    crd,
    effective::{EffectiveRule, Provenance},
};

fn policy(spec: Value) -> KubeArmorPolicy {
    let value = json!({
        "apiVersion": "security.kubearmor.com/v1",
        "kind": "KubeArmorPolicy",
        "metadata": {"name": "p", "namespace": "web"},
        "spec": spec,
    });
    let Ok(crd::Object::Policy(policy)) = crd::decode(value) else { panic!("no policy") };
    *policy
}

fn problems(spec: Value) -> Vec<String> {
    resolve(&policy(spec)).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn attributes_come_from_the_innermost_level_that_sets_them() {
    let effective = resolve(&policy(json!({
        "severity": 1, "tags": ["outer"], "message": "outer", "action": "Audit",
        "process": {
            "severity": 2, "message": "section",
            "matchPaths": [{"path": "/bin/a", "severity": 3, "action": "Allow"}, {"path": "/bin/b"}],
        },
        "file": {"matchDirectories": [{"dir": "/etc/"}]},
    })))
    .unwrap();
    let seen: Vec<_> = effective
        .rules
        .iter()
        .map(|EffectiveRule { rule, provenance }| {
            let Provenance { severity, tags, message, .. } = provenance;
            (rule.action, *severity, tags.join(","), message.as_str())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Action::Allow, 3, "outer".into(), "section"),
            (Action::Audit, 2, "outer".into(), "section"),
            (Action::Audit, 1, "outer".into(), "outer"),
        ]
    );
}

#[test]
fn a_policy_without_an_action_blocks() {
    let effective =
        resolve(&policy(json!({"process": {"matchPaths": [{"path": "/bin/a"}]}}))).unwrap();
    assert_eq!(effective.rules[0].rule.action, Action::Block);
}

#[test]
fn rules_keep_the_path_of_their_field() {
    let effective = resolve(&policy(json!({
        "process": {"matchPaths": [{"path": "//usr/bin/apt", "fromSource": [{"path": "/bin/sh"}]}]},
        "file": {"matchDirectories": [{"dir": "/etc/", "recursive": true}]},
    })))
    .unwrap();
    let [process, file] = &effective.rules[..] else { panic!("two rules") };
    assert_eq!(process.provenance.field, "spec.process.matchPaths[0].path");
    let path = RulePath::new("/usr/bin/apt").unwrap();
    assert_eq!(process.rule.object, Object::Path(PathObject { path, matching: Match::Name }));
    assert_eq!(process.rule.sources, [Source::Path(RulePath::new("/bin/sh").unwrap())]);
    assert_eq!(file.provenance.field, "spec.file.matchDirectories[0].dir");
    assert_eq!(file.rule.category, Category::File);
}

#[test]
fn every_problem_is_named_with_field_and_remedy() {
    let found = problems(json!({
        "selector": {"matchExpressions": [{"key": "namespace", "operator": "In", "values": ["x"]}]},
        "process": {
            "matchPaths": [
                {"path": "/etc/"},
                {"execname": "apt"},
                {},
                {"path": "/bin/a", "ownerOnly": true, "fromSource": [{"path": "sh"}]},
            ],
        },
        "file": {"matchDirectories": [{"dir": "/etc"}], "matchPatterns": [{"pattern": "/x*"}]},
        "network": {"matchProtocols": [{"protocol": "tcp"}]},
    }));
    let starts = [
        "spec.selector.matchExpressions[0].key: `namespace` is no key",
        "spec.selector.matchExpressions[0].values[0]: `x` is no label",
        "spec.process.matchPaths[0].path: `/etc/` ends in a slash",
        "spec.process.matchPaths[1].execname: not built yet; remove the field",
        "spec.process.matchPaths[2].path: missing",
        "spec.process.matchPaths[3].ownerOnly: not built yet",
        "spec.process.matchPaths[3].fromSource[0].path: `sh` is relative",
        "spec.file.matchDirectories[0].dir: `/etc` does not end in a slash",
        "spec.file.matchPatterns[0]: not built yet",
        "spec.network.matchProtocols[0]: not built yet",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (problem, start) in found.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn options_without_an_effect_are_no_problem() {
    let spec = json!({"process": {"matchPaths": [{"path": "/bin/a", "pts": true}]}});
    assert!(resolve(&policy(spec)).is_ok());
}

#[test]
fn allowed_arguments_are_a_set_and_bounded() {
    let spec = |arguments: Value| json!({"process": {"matchPaths": [{"path": "/bin/a", "allowedArgs": arguments}]}});
    let effective = resolve(&policy(spec(json!(["-m", "-c", "", "-m"])))).unwrap();
    assert_eq!(effective.rules[0].rule.allowed_args, ["", "-c", "-m"]);
    let long = "x".repeat(4097);
    let found = problems(spec(json!(["-m", long, "a\0b"])));
    let field = "spec.process.matchPaths[0].allowedArgs";
    assert_eq!(
        found,
        [
            format!("{field}[1]: 4097 bytes, an argument may have 4096"),
            format!("{field}[2]: no argument has a NUL in it"),
        ]
    );
    let many: Vec<_> = (0..65).map(|at| at.to_string()).collect();
    assert_eq!(problems(spec(json!(many))), [format!("{field}: 65 arguments, a rule may have 64")]);
}

#[test]
fn severities_above_ten_are_refused() {
    let found = problems(json!({"severity": 11, "process": {"matchPaths": [{"path": "/bin/a"}]}}));
    assert_eq!(found, ["spec.process.matchPaths[0].severity: 11 is above 10"]);
}

#[test]
fn advice_names_arguments_that_look_like_several() {
    let policy = policy(json!({"process": {"matchPaths": [
        {"path": "/usr/bin/a", "allowedArgs": ["-m", "random"]},
        {"path": "/usr/bin/b", "allowedArgs": ["-x", "-m random"]},
    ]}}));
    let effective = resolve(&policy).unwrap();
    let found: Vec<_> = advise(&policy, &effective).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["[KS118 blank-in-argument] web/p: spec.process.matchPaths[1].allowedArgs: `-m random` \
          passes as one argument only; write each word as an item of its own"]
    );
}

#[test]
fn advice_names_policies_without_rules_and_names_without_brackets() {
    let policy = policy(json!({
        "selector": {"matchLabels": {"kubearmor.io/container.name": "web"}},
    }));
    let effective = resolve(&policy).unwrap();
    let codes: Vec<_> = advise(&policy, &effective).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::NoRules, Code::ContainerNames]);
}
