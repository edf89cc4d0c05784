// SPDX-License-Identifier: Apache-2.0
//! Policies as their users publish them: each is in force as it is written, or refused or remarked with
//! the field and the reason. None of them is accepted without effect.
#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use host_relay::{
    pipeline::{self, Defaults},
    watch::{Batch, Change, Files},
};
use kubesmith::{
    Code, Layer,
    crd::{KubeArmorPolicy, Object},
    harden::Level,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Far above the milliseconds that a policy of this size takes.
const DEADLINE: Duration = Duration::from_secs(10);

/// Every field of the language, as a pointer with `*` for a number.
const FIELDS: &str = include_str!("fields.txt");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    document: Value,
    rules: Option<usize>,
    #[serde(default)]
    findings: BTreeSet<String>,
    refused: Option<Vec<String>>,
}

/// What became of a policy.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It is in force, with these findings on how it is written.
    Rules(usize, BTreeSet<String>),
    /// Messages.
    Refused(Vec<String>),
}

// === impl Case ===

impl Case {
    fn object(&self) -> Value {
        if !self.document.is_null() {
            return self.document.clone();
        }
        json!({
            "apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy",
            "metadata": {"name": "p", "namespace": "shop"}, "spec": self.spec,
        })
    }
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("cases.yaml")).unwrap()
}

/// What the relay makes of it, read from a file as all are.
fn outcome(object: &Value, level: Level) -> Outcome {
    let mut files = Files::default();
    files.put(Path::new("p.json"), Ok(Some(object.to_string().into_bytes())));
    let Batch { changes, refusals } = files.batch().unwrap();
    if !refusals.is_empty() {
        return Outcome::Refused(refusals.iter().map(ToString::to_string).collect());
    }
    let [Change::Put { object: Object::Policy(policy), .. }] = &changes[..] else {
        panic!("one policy: {changes:?}")
    };
    match pipeline::check(policy, None, &Defaults { level, ..Defaults::default() }) {
        Ok(plan) => {
            let compiled = &plan.compiled;
            let is_own = |layer: &Layer| *layer == Layer::User;
            let layers = compiled.rules.rules().iter().map(|it| compiled.provenance[&it.id].layer);
            let codes = plan.findings.iter().map(|finding| finding.code);
            let codes = codes.filter(|code| is_on_writing(*code));
            Outcome::Rules(
                layers.filter(is_own).count(),
                codes.map(|code| code.id().to_owned()).collect(),
            )
        }
        Err(error) => Outcome::Refused(vec![error.to_string()]),
    }
}

/// Findings that do not depend on the level.
fn is_on_writing(code: Code) -> bool {
    code < Code::Bypass
        || matches!(code, Code::NoRules | Code::ContainerNames | Code::BlankInArgument)
}

/// Entries of all lists of rules.
fn written(policy: &KubeArmorPolicy) -> usize {
    let (process, file) = (&policy.spec.process, &policy.spec.file);
    process.match_paths.len()
        + process.match_directories.len()
        + file.match_paths.len()
        + file.match_directories.len()
}

#[test]
fn each_is_in_force_or_refused_with_the_field_and_the_reason() {
    for case in cases() {
        for level in Level::ALL {
            let start = Instant::now();
            let outcome = outcome(&case.object(), level);
            assert!(start.elapsed() < DEADLINE, "{}: {:?}", case.name, start.elapsed());
            match (&outcome, &case.refused) {
                (Outcome::Refused(messages), Some(fields)) => {
                    let text = messages.join("\n");
                    for field in fields {
                        assert!(
                            text.contains(&format!("{field}: ")),
                            "{}: {field}: {text}",
                            case.name
                        );
                    }
                }
                (Outcome::Rules(rules, findings), None) => {
                    assert_eq!(
                        (Some(*rules), findings),
                        (case.rules, &case.findings),
                        "{}",
                        case.name
                    );
                }
                _ => panic!("{}: {outcome:?}", case.name),
            }
        }
    }
}

/// A rule of a policy that is in force is in force, or there is a finding.
#[test]
fn what_is_accepted_has_as_many_rules_as_are_written() {
    for case in cases().iter().filter(|case| case.refused.is_none()) {
        let Ok(Object::Policy(policy)) = kubesmith::crd::decode(case.object()) else {
            panic!("{}", case.name)
        };
        assert_eq!(case.rules, Some(written(&policy)), "{}", case.name);
        assert!(case.rules != Some(0) || !case.findings.is_empty(), "{}", case.name);
    }
}

#[test]
fn every_field_of_the_language_is_in_some_case() {
    let mut used = BTreeSet::new();
    for case in cases() {
        note("", &case.spec, &mut used);
    }
    let missing: Vec<_> = FIELDS.lines().filter(|field| !used.contains(*field)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

fn note(path: &str, value: &Value, used: &mut BTreeSet<String>) {
    used.insert(path.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| note(&format!("{path}/{key}"), value, used));
        }
        Value::Array(items) => items.iter().for_each(|item| note(&format!("{path}/*"), item, used)),
        _ => {}
    }
}
