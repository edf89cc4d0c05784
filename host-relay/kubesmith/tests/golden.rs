// SPDX-License-Identifier: Apache-2.0
//! Golden cases: each folder of `golden/` has the objects of one pod in `policy.yaml` and what the
//! stages make of them in `ruleset.json`. `KADAPTER_BLESS=1` writes the latter anew.
#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

use std::{env, fs, path::Path};

use kubesmith::{
    EffectiveOption, EffectivePolicy, Finding, Provenance,
    compile::{Compiled, compile, postures},
    crd::{self, KubeArmorPolicy, Namespace, Object, Pod},
    harden::{self, Level, harden, level_of},
    resolve::{advise, resolve},
    select::selects,
    verify::{Verdict, replaceable, verify},
};
use policy_model::{
    Directory, Match, Object as RuleObject, PathObject, Postures, Rule, Source, Target, wire,
};
use serde_json::{Value, json};

#[derive(Default)]
struct World {
    policies: Vec<KubeArmorPolicy>,
    pod: Pod,
    namespace: Option<Namespace>,
}

#[test]
fn every_case_compiles_to_its_rule_set() {
    let bless = env::var_os("KADAPTER_BLESS").is_some();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> =
        fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        let world = read(&case.join("policy.yaml"));
        let text =
            format!("{:#}\n", outcome(&world).unwrap_or_else(|error| json!({"error": error})));
        let expected = case.join("ruleset.json");
        if bless {
            fs::write(expected, text).unwrap();
        } else {
            let expected = fs::read_to_string(&expected).unwrap_or_default();
            assert_eq!(text, expected, "{}", case.display());
        }
    }
}

fn read(file: &Path) -> World {
    let text = fs::read_to_string(file).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut world = World::default();
    for document in documents {
        match crd::decode(document).unwrap() {
            Object::Policy(policy) => world.policies.push(*policy),
            Object::Pod(pod) => world.pod = *pod,
            Object::Namespace(namespace) => world.namespace = Some(*namespace),
        }
    }
    world
}

/// The stages in their order, as the relay's pipeline calls them.
fn outcome(world: &World) -> Result<Value, String> {
    let container = &world.pod.spec.containers[0].name;
    let (postures, mut findings) = postures(Postures::default(), world.namespace.as_ref());
    let mut hardened: Vec<EffectivePolicy> = Vec::new();
    for policy in world.policies.iter().filter(|policy| selects(policy, &world.pod, container)) {
        let effective = resolve(policy).map_err(|error| error.to_string())?;
        findings.extend(advise(policy, &effective));
        let level = level_of(policy, world.namespace.as_ref(), Level::default());
        let level = level.map_err(|error| error.to_string())?;
        findings.extend(harden::advise(&effective, level));
        hardened.push(harden(effective, level));
    }
    let verified = verify(&hardened, postures).map_err(|error| error.to_string())?;
    findings.extend(replaceable(&hardened, postures));
    let bypasses = verified.into_iter().filter_map(|verified| match verified.verdict {
        Verdict::Bypassed { counter_example } => Some(counter_example),
        Verdict::Holds { .. } | Verdict::Unsearched => None,
    });
    let target = Target {
        namespace: world.pod.metadata.namespace.clone(),
        pod: world.pod.metadata.name.clone(),
        pod_uid: world.pod.metadata.uid.clone(),
        container_name: container.clone(),
    };
    let compiled = compile(target, postures, &hardened).map_err(|error| error.to_string())?;
    let findings: Vec<_> = findings.iter().map(Finding::to_string).collect();
    let mut value = describe(&compiled);
    value["findings"] = json!(findings);
    value["bypasses"] = json!(bypasses.collect::<Vec<_>>());
    Ok(value)
}

fn describe(Compiled { rules, provenance, options }: &Compiled) -> Value {
    let features: Vec<_> = rules.features().iter().map(ToString::to_string).collect();
    let described: Vec<_> =
        rules.rules().iter().map(|rule| describe_rule(rule, &provenance[&rule.id])).collect();
    let options: Vec<_> = options.values().flatten().map(describe_option).collect();
    json!({
        "options": options,
        "target": rules.target.to_string(),
        "digest": wire::digest(rules).to_string(),
        "postures": format!("{:?}", rules.postures),
        "required_features": features,
        "rules": described,
    })
}

fn describe_rule(rule: &Rule, provenance: &Provenance) -> Value {
    let mut described = json!({
        "id": rule.id.to_string(),
        "rule": format!("{:?} {:?} {}", rule.action, rule.category, object(&rule.object)),
        "sources": rule.sources.iter().map(source).collect::<Vec<_>>(),
        "policy": provenance.policy.to_string(),
        "field": provenance.field,
        "layer": provenance.layer.as_str(),
        "severity": provenance.severity,
        "tags": provenance.tags,
        "message": provenance.message,
    });
    if !rule.allowed_args.is_empty() {
        described["arguments"] = json!(rule.allowed_args);
    }
    described
}

fn describe_option(option: &EffectiveOption) -> Value {
    let EffectiveOption { switch, level, finding, provenance } = option;
    let (policy, field) = (&provenance.policy, &provenance.field);
    json!(format!("{switch:?}: level {level} of {policy} ({finding}), {field}"))
}

fn object(object: &RuleObject) -> String {
    match object {
        RuleObject::Path(PathObject { path, matching: Match::Name }) => format!("name {path}"),
        RuleObject::Path(PathObject { path, matching: Match::Identity }) => {
            format!("identity {path}")
        }
        RuleObject::Directory(found) => directory(found),
        other => format!("{other:?}"),
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Path(path) => path.to_string(),
        Source::Directory(found) => directory(found),
    }
}

fn directory(directory: &Directory) -> String {
    let depth = if directory.recursive { "recursive" } else { "flat" };
    format!("directory {} {depth}", directory.path)
}
