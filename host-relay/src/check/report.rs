// SPDX-License-Identifier: Apache-2.0
//! What a check found, as text for people and as JSON for machines.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use kubesmith::{Finding, PolicyRef, resolve::Problem};
use serde::Serialize;

use crate::watch::Refusal;

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// The relay refuses it.
    Error,
    /// It is in force, and not as its author may think.
    Warning,
    /// It tells what was done.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    severity: Severity,
    /// File, or the pod or namespace that it is about.
    origin: String,
    /// Number of the document in the file.
    document: Option<usize>,
    /// Numbers of items of lists in the document.
    items: Vec<usize>,
    /// Kind and name.
    object: Option<String>,
    field: Option<String>,
    /// Number of a finding.
    code: Option<&'static str>,
    /// As text has it, with all of the above but the file.
    message: String,
}

/// All that was found, without repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) policies: usize,
    pub(super) objects: usize,
    messages: BTreeSet<Message>,
}

#[derive(Serialize)]
struct Json<'a> {
    policies: usize,
    errors: usize,
    messages: &'a BTreeSet<Message>,
}

// === impl Message ===

impl Message {
    pub(super) fn new(severity: Severity, origin: String, message: &str) -> Self {
        Self {
            severity,
            origin,
            document: None,
            items: Vec::new(),
            object: None,
            field: None,
            code: None,
            message: message.into(),
        }
    }

    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let text = refusal.to_string();
        let text = text.strip_prefix(&format!("{}: ", refusal.origin)).unwrap_or(&text);
        Self {
            document: refusal.position.document,
            items: refusal.position.items.clone(),
            object: refusal.object.as_ref().map(ToString::to_string),
            ..Self::new(Severity::Error, refusal.origin.clone(), text)
        }
    }

    pub(super) fn problem(origin: &str, policy: &PolicyRef, problem: &Problem) -> Self {
        let object = format!("KubeArmorPolicy {policy}");
        let text = format!("{object}: {problem}");
        Self {
            object: Some(object),
            field: Some(problem.field.clone()),
            ..Self::new(Severity::Error, origin.into(), &text)
        }
    }

    pub(super) fn finding(origin: &str, finding: &Finding) -> Self {
        let severity = if finding.code.is_remark() { Severity::Note } else { Severity::Warning };
        Self {
            object: finding.policy.as_ref().map(|policy| format!("KubeArmorPolicy {policy}")),
            field: Some(finding.field.clone()),
            code: Some(finding.code.id()),
            ..Self::new(severity, origin.into(), &finding.to_string())
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn add(&mut self, message: Message) {
        self.messages.insert(message);
    }

    pub(super) fn errors(&self) -> usize {
        let is_error = |message: &&Message| message.severity == Severity::Error;
        self.messages.iter().filter(is_error).count()
    }

    pub(super) fn print(&self, json: bool, output: &mut impl Write) -> io::Result<()> {
        let (policies, errors) = (self.policies, self.errors());
        if json {
            let json = Json { policies, errors, messages: &self.messages };
            serde_json::to_writer_pretty(&mut *output, &json)?;
            return writeln!(output);
        }
        for message in &self.messages {
            let severity = match message.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            writeln!(output, "{severity}: {}: {}", message.origin, message.message)?;
        }
        writeln!(output, "{policies} policies read, {errors} errors")
    }
}
