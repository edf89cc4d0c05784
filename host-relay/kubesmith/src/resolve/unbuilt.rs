// SPDX-License-Identifier: Apache-2.0
//! Sections that are not built yet: each entry is a problem with its field and the remedy.

use super::Problem;
use crate::crd::PolicySpec;

/// The problem of a field that has no effect yet.
pub(super) fn not_built(field: impl Into<String>) -> Problem {
    let message = "not built yet; remove the field, or use paths and directories of the sections \
                   process and file";
    Problem::new(field, message)
}

/// Problems of whole sections and lists.
pub(super) fn sections(spec: &PolicySpec) -> Vec<Problem> {
    let lists = [
        ("spec.process.matchPatterns", spec.process.match_patterns.len()),
        ("spec.file.matchPatterns", spec.file.match_patterns.len()),
        ("spec.network.matchProtocols", spec.network.match_protocols.len()),
        ("spec.network.matchDNSQueries", spec.network.match_dns_queries.len()),
        ("spec.capabilities.matchCapabilities", spec.capabilities.match_capabilities.len()),
        ("spec.syscalls.matchSyscalls", spec.syscalls.match_syscalls.len()),
        ("spec.syscalls.matchPaths", spec.syscalls.match_paths.len()),
        ("spec.presets", spec.presets.len()),
    ];
    let mut problems: Vec<_> = lists
        .into_iter()
        .flat_map(|(field, len)| (0..len).map(move |index| not_built(format!("{field}[{index}]"))))
        .collect();
    if !spec.apparmor.is_empty() {
        problems.push(not_built("spec.apparmor"));
    }
    problems
}
