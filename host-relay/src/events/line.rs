// SPDX-License-Identifier: Apache-2.0
//! One report as one line of JSON. The fields are KubeArmor's where it has them; the README lists
//! them.

use std::time::{Duration, UNIX_EPOCH};

use kubesmith::{EffectiveOption, Provenance};
use policy_model::{Category, Event, Primitive, Reason, Verdict};
use serde::Serialize;

use super::Report;

/// Policy name of accesses that no rule of a whitelist matched, as KubeArmor writes it.
const DEFAULT_POSTURE: &str = "DefaultPosture";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    namespace: &'a str,
    pod: &'a str,
    container: &'a str,
    #[serde(rename = "containerID")]
    container_id: &'a str,
    policy_names: Vec<&'a str>,
    severity: u32,
    tags: Vec<&'a str>,
    message: &'a str,
    action: &'static str,
    result: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    primitive: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asked_by: Vec<Asker<'a>>,
    operation: &'static str,
    resource: &'a str,
    source: &'a str,
    process_name: &'a str,
    parent_process_name: &'a str,
    data: String,
    hook: &'a str,
    errno: i32,
    pid: u32,
    ppid: u32,
    #[serde(rename = "containerPID")]
    container_pid: u32,
    uid: u32,
    comm: &'a str,
    argv: &'a [String],
    cwd: &'a str,
    tty: &'a str,
    truncated: bool,
    generation: u64,
    #[serde(rename = "ruleIDs")]
    rule_ids: Vec<String>,
    sandbox: &'a str,
    sequence: u64,
    dropped_before: u64,
    enforcer: &'static str,
}

/// A policy that asks for the option behind a primitive.
#[derive(Serialize)]
struct Asker<'a> {
    policy: &'a str,
    level: &'static str,
    finding: &'static str,
    field: &'a str,
}

/// The line of a report, without the line feed.
#[must_use]
pub fn line(report: &Report) -> String {
    let Report { sandbox, event, options, .. } = report;
    let known = known(report);
    let gravest = known.iter().max_by_key(|provenance| provenance.severity);
    let process = event.category == Category::Process;
    let line = Line {
        time: time(event.time_ns),
        namespace: &event.target.namespace,
        pod: &event.target.pod,
        container: &event.target.container_name,
        container_id: &event.container_id,
        policy_names: policy_names(event, &known),
        severity: gravest.map_or(0, |provenance| provenance.severity),
        tags: distinct(known.iter().flat_map(|provenance| &provenance.tags)),
        message: gravest.map_or("", |provenance| &provenance.message),
        action: action(event.verdict),
        result: if event.verdict == Verdict::Block { "Permission denied" } else { "Passed" },
        reason: reason(event.reason),
        primitive: event.primitive.map(Primitive::name),
        asked_by: options.iter().map(asker).collect(),
        operation: operation(event.category),
        resource: &event.path,
        source: &event.exe,
        process_name: if process { &event.path } else { &event.exe },
        parent_process_name: &event.parent_exe,
        data: format!("lsm={}", lsm(&event.hook)),
        hook: &event.hook,
        errno: event.errno,
        pid: event.pid,
        ppid: event.ppid,
        container_pid: event.container_pid,
        uid: event.uid,
        comm: &event.comm,
        argv: &event.argv,
        cwd: &event.cwd,
        tty: &event.tty,
        truncated: event.truncated,
        generation: event.generation.0,
        rule_ids: event.rules.iter().map(ToString::to_string).collect(),
        sandbox,
        sequence: event.sequence,
        dropped_before: event.dropped_before,
        enforcer: "BPFLSM",
    };
    let json = serde_json::to_string(&line);
    without_controls(json.expect("a structure of texts and numbers is always JSON"))
}

/// JSON leaves DEL and the controls above it as they are, and a terminal obeys them. Outside its
/// texts it has none.
fn without_controls(json: String) -> String {
    if !json.contains(char::is_control) {
        return json;
    }
    let escape = |text: String, c: char| match c {
        c if c.is_control() => text + &format!("\\u{:04x}", u32::from(c)),
        c => text + c.encode_utf8(&mut [0; 4]),
    };
    json.chars().fold(String::with_capacity(json.len()), escape)
}

/// Where the decision comes from, as far as that is still known: its rules, or the policies that ask
/// for the option that decided without a rule.
fn known(report: &Report) -> Vec<&Provenance> {
    match report.event.reason {
        Reason::Hardening => {
            let asking = report.options.iter().map(|option| &option.provenance);
            asking.chain(report.rules.iter().filter_map(|(_, known)| known.as_ref())).collect()
        }
        Reason::Rule
        | Reason::Posture
        | Reason::Guard
        | Reason::FailClosed
        | Reason::SelfProtection => {
            report.rules.iter().filter_map(|(_, known)| known.as_ref()).collect()
        }
    }
}

fn asker(option: &EffectiveOption) -> Asker<'_> {
    Asker {
        policy: &option.provenance.policy.name,
        level: option.level.as_str(),
        finding: option.finding.id(),
        field: &option.provenance.field,
    }
}

fn time(ns: u64) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(ns)).to_string()
}

fn policy_names<'a>(event: &Event, known: &[&'a Provenance]) -> Vec<&'a str> {
    match event.reason {
        Reason::Posture => vec![DEFAULT_POSTURE],
        Reason::Rule
        | Reason::Guard
        | Reason::FailClosed
        | Reason::SelfProtection
        | Reason::Hardening => distinct(known.iter().map(|provenance| &provenance.policy.name)),
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text.as_str()) {
            seen.push(text);
        }
    }
    seen
}

fn action(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "Allow",
        Verdict::Audit => "Audit",
        Verdict::Block => "Block",
    }
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Rule => "Rule",
        Reason::Posture => "Posture",
        Reason::Guard => "Guard",
        Reason::FailClosed => "FailClosed",
        Reason::SelfProtection => "SelfProtection",
        Reason::Hardening => "Hardening",
    }
}

fn operation(category: Category) -> &'static str {
    match category {
        Category::Process => "Process",
        Category::File => "File",
        Category::Network | Category::Dns => "Network",
        Category::Capability => "Capabilities",
        Category::Syscall => "Syscall",
    }
}

/// KubeArmor's name of a hook.
fn lsm(hook: &str) -> String {
    match hook {
        "bprm_check_security" => "SECURITY_BPRM_CHECK".into(),
        _ => hook.to_ascii_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use kubesmith::{Code, Layer, PolicyRef, Switch, harden::Level};
    use policy_model::{Generation, RuleId, Target};
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: Reason, verdict: Verdict) -> Event {
        Event {
            sequence: 7,
            dropped_before: 2,
            time_ns: 1_700_000_000_123_456_789,
            container_id: "abc".into(),
            target: Target {
                namespace: "shop".into(),
                pod: "web-0".into(),
                pod_uid: "u".into(),
                container_name: "web".into(),
            },
            generation: Generation(3),
            rules: vec![RuleId(1), RuleId(2)],
            hook: "bprm_check_security".into(),
            verdict,
            reason,
            primitive: None,
            category: Category::Process,
            errno: 13,
            pid: 10,
            ppid: 9,
            container_pid: 5,
            uid: 0,
            comm: "sh".into(),
            exe: "/bin/sh".into(),
            parent_exe: "/usr/bin/runc".into(),
            path: "/usr/bin/apt".into(),
            argv: vec!["sh".into()],
            cwd: "/".into(),
            tty: String::new(),
            truncated: false,
        }
    }

    fn provenance(name: &str, severity: u32) -> Provenance {
        Provenance {
            policy: PolicyRef { namespace: "shop".into(), name: name.into(), uid: String::new() },
            field: "spec".into(),
            layer: Layer::User,
            severity,
            tags: vec!["t".into(), name.into()],
            message: format!("message of {name}"),
        }
    }

    fn written(event: Event, rules: Vec<(RuleId, Option<Provenance>)>) -> Value {
        let sandbox = "vsock://3:1034".to_owned();
        serde_json::from_str(&line(&Report { sandbox, event, rules, options: Vec::new() })).unwrap()
    }

    #[test]
    fn a_denial_names_its_policies_in_kubearmors_words() {
        let rules =
            vec![(RuleId(1), Some(provenance("a", 3))), (RuleId(2), Some(provenance("b", 5)))];
        let value = written(event(Reason::Rule, Verdict::Block), rules);
        for (field, expected) in [
            ("time", json!("2023-11-14T22:13:20.123456Z")),
            ("namespace", json!("shop")),
            ("pod", json!("web-0")),
            ("container", json!("web")),
            ("containerID", json!("abc")),
            ("policyNames", json!(["a", "b"])),
            ("severity", json!(5)),
            ("tags", json!(["t", "a", "b"])),
            ("message", json!("message of b")),
            ("action", json!("Block")),
            ("result", json!("Permission denied")),
            ("operation", json!("Process")),
            ("resource", json!("/usr/bin/apt")),
            ("source", json!("/bin/sh")),
            ("processName", json!("/usr/bin/apt")),
            ("parentProcessName", json!("/usr/bin/runc")),
            ("data", json!("lsm=SECURITY_BPRM_CHECK")),
            ("hook", json!("bprm_check_security")),
            ("generation", json!(3)),
            ("ruleIDs", json!(["0000000000000001", "0000000000000002"])),
            ("sandbox", json!("vsock://3:1034")),
            ("sequence", json!(7)),
            ("droppedBefore", json!(2)),
            ("enforcer", json!("BPFLSM")),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
    }

    #[test]
    fn a_whitelist_violation_is_the_default_postures() {
        let mut violation = event(Reason::Posture, Verdict::Audit);
        violation.rules.clear();
        violation.category = Category::File;
        violation.hook = "file_open".into();
        let value = written(violation, Vec::new());
        assert_eq!(value["policyNames"], json!(["DefaultPosture"]));
        assert_eq!(value["result"], json!("Passed"));
        assert_eq!(value["processName"], json!("/bin/sh"));
        assert_eq!(value["data"], json!("lsm=FILE_OPEN"));
    }

    #[test]
    fn a_denial_by_an_option_names_the_policies_whose_levels_ask_for_it() {
        let asks = |name, severity, level| EffectiveOption {
            switch: Switch::Taint,
            level,
            finding: Code::Hardened,
            provenance: provenance(name, severity),
        };
        let options = vec![asks("a", 2, Level::Contained), asks("b", 5, Level::Sealed)];
        let mut event = event(Reason::Hardening, Verdict::Block);
        event.primitive = Some(Primitive::Taint);
        event.rules.clear();
        let sandbox = "vsock://3:1034".to_owned();
        let report = Report { sandbox, event, rules: Vec::new(), options };
        let value: Value = serde_json::from_str(&line(&report)).unwrap();
        let asker = |policy: &str, level: &str| json!({"policy": policy, "level": level, "finding": "KS120", "field": "spec"});
        for (field, expected) in [
            ("reason", json!("Hardening")),
            ("primitive", json!("taint")),
            ("policyNames", json!(["a", "b"])),
            ("severity", json!(5)),
            ("message", json!("message of b")),
            ("ruleIDs", json!([])),
            ("askedBy", json!([asker("a", "contained"), asker("b", "sealed")])),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
    }

    #[test]
    fn a_guests_text_cannot_steer_a_terminal() {
        let mut event = event(Reason::Rule, Verdict::Block);
        event.path = "/a\u{7f}\u{9b}2J\u{1b}[2J\n\u{e9}".into();
        let sandbox = "vsock://3:1034".to_owned();
        let text =
            line(&Report { sandbox, event: event.clone(), rules: Vec::new(), options: Vec::new() });
        assert!(!text.contains(char::is_control), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["resource"], json!(event.path));
    }

    #[test]
    fn an_event_of_a_forgotten_rule_keeps_its_id() {
        let value = written(event(Reason::Rule, Verdict::Block), vec![(RuleId(1), None)]);
        assert_eq!(value["policyNames"], json!([]));
        assert_eq!(value["ruleIDs"][0], json!("0000000000000001"));
    }
}
