// SPDX-License-Identifier: Apache-2.0
//! The enforcement fragment of this checkout against configurations of several origins.

use std::fmt::Write as _;

use super::{Expected, Finding, Outcome, Report, check, needs};
use crate::kernel::config::Value;

/// What Kata 4.1 ships: its list of modules ends with bpf, and BPF_LSM is nowhere.
const KATA_SHIPPED: &str = "\
#
# Automatically generated file; DO NOT EDIT.
# Linux/x86 6.18.35 Kernel Configuration
#
CONFIG_LOCALVERSION=\"-202\"
CONFIG_CGROUPS=y
CONFIG_CGROUP_BPF=y
CONFIG_BPF=y
CONFIG_BPF_SYSCALL=y
# CONFIG_BPF_JIT is not set
CONFIG_PERF_EVENTS=y
CONFIG_KALLSYMS=y
CONFIG_SECURITY=y
CONFIG_SECURITY_NETWORK=y
CONFIG_SECURITY_PATH=y
# CONFIG_SECURITYFS is not set
CONFIG_NET=y
CONFIG_VSOCKETS=y
CONFIG_VIRTIO_VSOCKETS=y
CONFIG_EROFS_FS=y
CONFIG_BLK_DEV_DM=y
CONFIG_DM_VERITY=y
CONFIG_CRYPTO_SHA256=y
# CONFIG_FTRACE is not set
# CONFIG_KPROBES is not set
CONFIG_LSM=\"landlock,lockdown,yama,loadpin,safesetid,selinux,bpf\"
";

/// A configuration in which every need is met.
fn sufficient() -> String {
    needs().unwrap().0.iter().fold(String::new(), |mut text, need| {
        let _ = match &need.expected {
            Expected::Value(value) => writeln!(text, "CONFIG_{}={value}", need.option),
            Expected::Item(item) => writeln!(text, "CONFIG_{}=\"yama,{item}\"", need.option),
        };
        text
    })
}

fn checked(text: &str) -> Report {
    check(text.as_bytes(), &needs().unwrap()).unwrap()
}

fn with(option: &str, value: &str) -> Report {
    checked(&format!("{}CONFIG_{option}={value}\n", sufficient()))
}

fn finding<'a>(report: &'a Report, option: &str) -> &'a Finding {
    let named = |finding: &&Finding| finding.option == option;
    report.findings.iter().find(named).unwrap_or_else(|| panic!("no {option} in {report}"))
}

#[test]
fn a_kernel_with_every_option_suffices_and_lsm_stays_a_condition() {
    let report = checked(&sufficient());
    assert!(report.sufficient);
    assert_eq!(report.findings.len(), 1, "{report}");
    let lsm = finding(&report, "CONFIG_LSM");
    assert_eq!(lsm.outcome, Outcome::Condition);
    let note = lsm.note.as_ref().unwrap();
    assert!(note.contains("has bpf") && note.contains("`lsm=`"), "{note}");
}

#[test]
fn the_kernel_that_kata_ships_does_not_suffice_and_bpf_lsm_is_named() {
    let report = checked(KATA_SHIPPED);
    assert!(!report.sufficient);
    assert_eq!(report.kernel.as_deref(), Some("Linux/x86 6.18.35"));
    let missing: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.outcome == Outcome::Missing)
        .map(|finding| finding.option.as_str())
        .collect();
    assert_eq!(
        missing,
        [
            "CONFIG_BPF_LSM",
            "CONFIG_SECURITYFS",
            "CONFIG_BPF_JIT",
            "CONFIG_FTRACE",
            "CONFIG_FUNCTION_TRACER",
            "CONFIG_DYNAMIC_FTRACE",
            "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
            "CONFIG_BPF_EVENTS",
            "CONFIG_DEBUG_INFO_BTF",
        ]
    );
    let text = report.to_string();
    assert!(text.contains("CONFIG_BPF_LSM: expected y, found n"), "{text}");
    assert!(text.contains(&finding(&report, "CONFIG_BPF_LSM").without), "{text}");
    assert!(text.contains("Linux/x86 6.18.35 does not suffice: "), "{text}");
}

#[test]
fn a_missing_option_that_is_only_advised_is_a_loss() {
    let report = with("BPF_JIT_ALWAYS_ON", "n");
    assert!(report.sufficient);
    assert_eq!(finding(&report, "CONFIG_BPF_JIT_ALWAYS_ON").outcome, Outcome::Loss);
}

#[test]
fn a_module_does_only_where_the_fragment_says_so() {
    let report = with("DM_VERITY", "m");
    assert!(report.sufficient);
    let verity = finding(&report, "CONFIG_DM_VERITY");
    assert_eq!((verity.outcome, &verity.found), (Outcome::Condition, &Value::Module));
    assert!(verity.note.as_ref().unwrap().starts_with("a module does if "));

    let report = with("CGROUPS", "m");
    assert!(!report.sufficient);
    let note = finding(&report, "CONFIG_CGROUPS").note.as_deref();
    assert_eq!(note, Some("a module does not suffice"));
}

#[test]
fn a_list_without_bpf_is_no_failure_for_the_command_line_can_add_it() {
    for list in ["\"landlock,yama\"", "\"bpfilter\"", "\"\""] {
        let report = with("LSM", list);
        assert!(report.sufficient);
        let note = finding(&report, "CONFIG_LSM").note.as_ref().unwrap();
        assert!(note.contains("lacks bpf"), "{list}: {note}");
    }
}

#[test]
fn the_report_in_json_keeps_its_field_names() {
    let report = with("BPF_LSM", "n");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["sufficient"], false);
    assert_eq!(json["kernel"], serde_json::Value::Null);
    let first = &json["findings"][0];
    assert_eq!(first["option"], "CONFIG_BPF_LSM");
    assert_eq!((&first["expected"], &first["found"]), (&"y".into(), &"n".into()));
    assert_eq!(first["outcome"], "missing");
    assert!(first["why"].is_string() && first["without"].is_string());
    assert!(first.get("note").is_none());
}
