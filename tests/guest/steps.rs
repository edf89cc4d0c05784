// SPDX-License-Identifier: Apache-2.0
//! Steps that the tests are made of: policies as text, programs in containers, and what is expected
//! of them.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, eventually},
    rootfs::Running,
    vm::{End, Output},
};
use serde_json::Value;

/// What a shell exits with when the kernel refuses to execute a program.
const CANNOT_EXECUTE: i32 = 126;

/// A policy of namespace `shop` for pods of a label `app`, as an operator writes it.
pub(crate) fn policy(name: &str, app: &str, spec: &str) -> String {
    let spec = spec.trim().lines().fold(String::new(), |text, line| text + "  " + line + "\n");
    format!(
        "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: {name}\n  \
         namespace: shop\nspec:\n  selector:\n    matchLabels:\n      app: {app}\n{spec}"
    )
}

/// A policy that blocks one program.
pub(crate) fn block_program(name: &str, app: &str, path: &str) -> String {
    policy(name, app, &format!("process:\n  matchPaths:\n  - path: {path}\naction: Block"))
}

/// The same policy at a level of hardening.
pub(crate) fn at_level(policy: &str, level: &str) -> String {
    let namespace = "  namespace: shop\n";
    let annotated = format!("{namespace}  annotations:\n    kadapter.io/level: {level}\n");
    policy.replacen(namespace, &annotated, 1)
}

/// Runs a shell command in a container.
pub(crate) fn sh(container: &Running<'_>, script: &str) -> Result<Output> {
    container.exec(&["/bin/sh", "-c", script])
}

/// It succeeds.
pub(crate) fn allowed(container: &Running<'_>, script: &str) -> Result<()> {
    let output = sh(container, script)?;
    ensure!(output.success(), "`{script}` ended with {}: {}", output.end, output.stderr.text());
    Ok(())
}

/// It fails, and for the one reason that counts.
pub(crate) fn denied(container: &Running<'_>, script: &str) -> Result<()> {
    ensure!(is_denied(&sh(container, script)?), "`{script}` was not denied");
    Ok(())
}

/// Whether the kernel said EACCES.
pub(crate) fn is_denied(output: &Output) -> bool {
    !output.success() && output.stderr.text().to_lowercase().contains("permission denied")
}

/// A program that the shell could not execute has its own exit status.
pub(crate) fn is_exec_denied(output: &Output) -> bool {
    is_denied(output) && output.end == End::Exited { status: CANNOT_EXECUTE }
}

/// From now on it is denied: the policy has arrived.
pub(crate) fn becomes_denied(container: &Running<'_>, script: &str) -> Result<()> {
    eventually(&format!("`{script}` is denied"), || Ok(is_denied(&sh(container, script)?)))
}

/// From now on it succeeds: the policy is gone.
pub(crate) fn becomes_allowed(container: &Running<'_>, script: &str) -> Result<()> {
    eventually(&format!("`{script}` is allowed"), || Ok(sh(container, script)?.success()))
}

/// The first event on this resource with this action.
pub(crate) fn event_on(node: &Node, resource: &str, action: &str) -> Result<Value> {
    node.event(&format!("{action} of {resource}"), |event| {
        event["resource"] == resource && event["action"] == action
    })
}

/// Compares fields of an event; every difference is shown at once.
pub(crate) fn expect_fields(event: &Value, expected: &[(&str, Value)]) -> Result<()> {
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(field, value)| event[field] != *value)
        .map(|(field, value)| format!("{field}: expected {value}, got {}", event[field]))
        .collect();
    ensure!(wrong.is_empty(), "{}\nin {event:#}", wrong.join("\n"));
    Ok(())
}
