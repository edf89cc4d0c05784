// SPDX-License-Identifier: Apache-2.0
//! Tests of what a check says, and that the relay says the same.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n\
         metadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

const APT: &str = "{process: {matchPaths: [{path: /usr/bin/apt}]}}";

/// A directory with these files; a name with a slash makes a directory, too.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// Number of errors, and the text without the path of the directory.
fn checked(files: &[(&str, &str)]) -> (usize, String) {
    let directory = directory(files);
    let report = check(directory.path(), &Defaults::default()).unwrap();
    let mut output = Vec::new();
    report.print(false, &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    (report.errors(), text.replace(&format!("{}/", directory.path().display()), ""))
}

#[test]
fn errors_name_file_object_and_field() {
    let (errors, text) =
        checked(&[("p.yaml", &policy("p", "{network: {matchProtocols: [{protocol: raw}]}}"))]);
    assert_eq!(errors, 1);
    let start = "error: p.yaml: KubeArmorPolicy shop/p: spec.network.matchProtocols[0]: not";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn a_good_directory_has_no_errors() {
    let (errors, text) = checked(&[("p.YAML", &policy("p", APT))]);
    assert_eq!(errors, 0);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("warning: p.YAML: [KS112 bypass-closed] shop/p"), "{text}");
    assert!(lines[1].starts_with("note: p.YAML: [KS120 hardened] shop/p"), "{text}");
    assert_eq!(lines[2..], ["1 policies read, 0 errors"]);
}

#[test]
fn what_the_relay_does_not_read_is_no_clean_directory() {
    let (errors, text) = checked(&[("team/p.yaml", &policy("p", APT))]);
    assert_eq!(errors, 1);
    assert!(text.starts_with("error: team: a directory"), "{text}");
    let (errors, text) = checked(&[("p.txt", &policy("p", APT))]);
    assert_eq!(errors, 1);
    assert!(text.contains("note: p.txt: not read"), "{text}");
    assert_eq!(checked(&[]).0, 1);
}

#[test]
fn namespaces_of_the_directory_count() {
    let namespace = |level: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, annotations: \
             {{kadapter.io/level: {level}, kubearmor-file-posture: deny}}}}\n"
        )
    };
    let policy = policy("p", APT);
    let (errors, text) = checked(&[("p.yaml", &policy), ("n.yaml", &namespace("high"))]);
    assert_eq!(errors, 1);
    assert!(text.contains("level `high` is unknown"), "{text}");
    let (errors, text) = checked(&[("p.yaml", &policy), ("n.yaml", &namespace("literal"))]);
    assert_eq!(errors, 0);
    assert!(text.contains("warning: p.yaml: [KS111 bypass] shop/p"), "{text}");
    assert!(text.contains("warning: Namespace shop: [KS116 posture]"), "{text}");
}

/// Paths of two policies that a guest takes each alone.
#[test]
fn what_a_container_cannot_have_together_is_an_error() {
    let many = |name: &str| {
        let long = format!("/{}", "x".repeat(250)).repeat(15);
        let paths: Vec<_> = (0..2230).map(|at| format!("{{path: /{name}{at}{long}}}")).collect();
        policy(name, &format!("{{file: {{action: Audit, matchPaths: [{}]}}}}", paths.join(", ")))
    };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n\
               spec: {containers: [{name: main}]}\n";
    let (p, q) = (many("p"), many("q"));
    assert_eq!(checked(&[("p.yaml", &p), ("q.yaml", &q)]).0, 0);
    let (errors, text) = checked(&[("p.yaml", &p), ("q.yaml", &q), ("pod.yaml", pod)]);
    assert_eq!(errors, 1);
    assert!(text.contains("error: Pod shop/web: the rules of shop/"), "{text}");
}

#[test]
fn findings_are_warnings_and_come_as_json_too() {
    let directory = directory(&[("p.yaml", &policy("p", "{}"))]);
    let report = check(directory.path(), &Defaults::default()).unwrap();
    let mut output = Vec::new();
    report.print(true, &mut output).unwrap();
    let json: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&json["policies"], &json["errors"]), (&1.into(), &0.into()));
    let message = &json["messages"][0];
    assert_eq!(message["severity"], "warning");
    assert_eq!(message["code"], "KS114");
    assert_eq!(message["object"], "KubeArmorPolicy shop/p");
    assert_eq!(message["field"], "spec");
}
