// SPDX-License-Identifier: Apache-2.0
//! Tests of names that match nothing.

use serde_json::{Value, json};

use super::*;
use crate::{
    crd::{self, Object as Known},
    resolve::resolve,
};

/// Code, field and message of each finding.
fn found(spec: Value) -> Vec<(Code, String, String)> {
    let value = json!({
        "apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy",
        "metadata": {"name": "p"}, "spec": spec,
    });
    let Ok(Known::Policy(policy)) = crd::decode(value) else { panic!("no policy") };
    let findings = advise(&policy, &resolve(&policy).unwrap());
    findings.into_iter().map(|it| (it.code, it.field, it.message)).collect()
}

fn of_file(path: &str) -> Option<(Code, String)> {
    let found = found(json!({"file": {"matchPaths": [{"path": path}]}}));
    found.into_iter().next().map(|(code, _, message)| (code, message))
}

#[test]
fn patterns_and_variables_in_a_path_are_told_with_the_field_that_was_meant() {
    for path in ["/home/*/.netrc", "/etc/*hado?", "/a/file?", "/a/[ab]", "/a/{b,c}", "/$HOME/x"] {
        let (code, message) = of_file(path).unwrap();
        assert_eq!(code, Code::Unmatchable, "{path}");
        assert!(message.contains("matchPatterns") && message.contains(path), "{message}");
    }
    let (code, message) = of_file("/etc/passwd ").unwrap();
    assert_eq!(code, Code::Unmatchable);
    assert!(message.contains("ends in a blank"), "{message}");
}

#[test]
fn names_that_are_only_unusual_are_not() {
    for path in
        ["/usr/bin/[", "/a b/c", "/opt/$x", "/proc/sys/kernel/core_pattern", "/run/x", "/binary"]
    {
        let expected = (path == "/opt/$x").then_some(Code::Unmatchable);
        assert_eq!(of_file(path).map(|(code, _)| code), expected, "{path}");
    }
}

#[test]
fn a_link_of_every_container_is_told_with_what_it_stands_for() {
    for (path, remedy) in [
        ("/proc/mounts", "dir: /proc/"),
        ("/proc/self/environ", "dir: /proc/"),
        ("/dev/stdout", "name that file"),
        ("/var/run/secrets/token", "write `/run/secrets/token`"),
        ("/bin/sh", "write `/usr/bin/sh`"),
    ] {
        let (code, message) = of_file(path).unwrap();
        assert_eq!(code, Code::SymlinkPath, "{path}");
        assert!(message.contains(remedy), "{message}");
    }
    let found =
        found(json!({"process": {"matchDirectories": [{"dir": "/sbin/"}, {"dir": "/bin/"}]}}));
    assert_eq!(found.len(), 1);
    assert!(found[0].2.ends_with("(and 1 more of this kind)"), "{}", found[0].2);
}

#[test]
fn what_is_no_program_no_file_or_no_directory_is_told() {
    let process =
        |path: &str| found(json!({"process": {"matchPaths": [{"path": path}]}})).remove(0);
    assert_eq!(process("/proc/self/exe").0, Code::WrongKind);
    assert_eq!(process("/usr/bin").0, Code::WrongKind);
    let (code, message) = of_file("/etc").unwrap();
    assert_eq!(code, Code::WrongKind);
    assert!(message.contains("`dir: /etc/`"), "{message}");
    let directory =
        found(json!({"file": {"matchDirectories": [{"dir": "/etc/passwd/"}]}})).remove(0);
    assert_eq!(
        (directory.0, directory.1.as_str()),
        (Code::WrongKind, "spec.file.matchDirectories[0].dir")
    );
}

#[test]
fn sources_are_looked_at_too() {
    for (path, code) in [
        ("/usr/bin/*", Code::Unmatchable),
        ("/opt/run.py", Code::WrongKind),
        ("/bin/cat", Code::SymlinkPath),
        ("/proc/self/exe", Code::WrongKind),
    ] {
        let source = json!([{"path": path}]);
        let spec = json!({"file": {"matchPaths": [{"path": "/secret", "fromSource": source}]}});
        let (found, field, _) = found(spec).remove(0);
        assert_eq!((found, field.as_str()), (code, "spec.file.matchPaths[0].fromSource"), "{path}");
    }
}

#[test]
fn selectors_that_no_pod_can_match_are_told() {
    let labels = |value: Value| {
        found(json!({"selector": value})).into_iter().map(|it| it.1).collect::<Vec<_>>()
    };
    let field = "spec.selector.matchLabels";
    for (label, value, is_odd) in [
        ("app", "web*", true),
        ("app", "a b", true),
        ("a b", "web", true),
        ("app.kubernetes.io/name", "Web_1.0", false),
        ("app", "", false),
        ("kubearmor.io/container.name", "[web, lb.*]", true),
        ("kubearmor.io/container.name", "[web-1]", false),
    ] {
        let expected = if is_odd { vec![format!("{field}.{label}")] } else { Vec::new() };
        assert_eq!(labels(json!({"matchLabels": {label: value}})), expected, "{label}={value}");
    }
    let expression = json!({"key": "label", "operator": "In", "values": ["app=web", "app=*"]});
    let field = "spec.selector.matchExpressions[0].values";
    assert_eq!(labels(json!({"matchExpressions": [expression]})), [field]);
}
