// SPDX-License-Identifier: Apache-2.0
//! `check DIR`: what the relay would refuse or remark, without a guest.
//!
//! The directory is read as the relay reads it, its objects are related as the relay relates them,
//! and every policy passes every stage: with the others of each container of the pods that are there,
//! or else alone. What is called clean here the relay accepts.

mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use kubesmith::{PolicyRef, crd::Pod, resolve::policy_ref};
use policy_model::Target;

use self::report::{Message, Report, Severity};
use crate::{
    index::{Index, NoInputs, Policy},
    pipeline::{self, Defaults, PipelineError, Plan},
    watch::{Files, ignored, read_all},
};

/// What is checked, and how the result is shown.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory.
    pub directory: PathBuf,
    /// As of the relay that is to read it.
    pub defaults: Defaults,
    /// JSON in place of text.
    pub json: bool,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The directory.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output.
    #[error("cannot write the result")]
    Write(#[source] io::Error),
}

/// Checks a directory and prints the result. The code is 0 if nothing is refused, else 1.
///
/// # Errors
/// If the directory cannot be read.
pub fn run(options: &Options) -> Result<ExitCode, CheckError> {
    let report = check(&options.directory, &options.defaults)?;
    report.print(options.json, &mut io::stdout().lock()).map_err(CheckError::Write)?;
    Ok(if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(directory: &Path, defaults: &Defaults) -> Result<Report, CheckError> {
    let failed = |source| CheckError::Read { path: directory.into(), source };
    let mut files = Files::default();
    read_all(directory, &mut files, &BTreeSet::new()).map_err(failed)?;
    let mut report = judge(&mut files, defaults);
    for path in ignored(directory).map_err(failed)? {
        let text = "not read: its name does not end in .yaml, .yml or .json";
        report.add(Message::new(Severity::Note, path.display().to_string(), text));
    }
    if report.objects == 0 && report.errors() == 0 {
        let text = "nothing here is read; give the directory that has the files";
        report.add(Message::new(Severity::Error, directory.display().to_string(), text));
    }
    Ok(report)
}

/// Everything that is refused or remarkable.
fn judge(files: &mut Files, defaults: &Defaults) -> Report {
    let batch = files.batch().unwrap_or_default();
    let mut report = Report::default();
    report.objects = batch.changes.len();
    batch.refusals.iter().for_each(|refusal| report.add(Message::refusal(refusal)));
    let mut index = Index::default();
    index.apply(batch);
    let mut judging = Judging { index: &index, defaults, origins: origins(&index), report };
    let mut judged = BTreeSet::new();
    for target in index.pods().flat_map(targets) {
        judged.extend(judging.container(&target));
    }
    for (policy, _) in index.policies() {
        judging.report.policies += 1;
        if !judged.contains(&policy_ref(&policy.object)) {
            judging.alone(policy);
        }
    }
    judging.report
}

fn origins(index: &Index) -> BTreeMap<PolicyRef, String> {
    let origin = |(policy, _): (&Policy, _)| (policy_ref(&policy.object), policy.origin.clone());
    index.policies().map(origin).collect()
}

/// The containers of a pod.
fn targets(pod: &Pod) -> Vec<Target> {
    let target = |container: &str| Target {
        namespace: pod.metadata.namespace.clone(),
        pod: pod.metadata.name.clone(),
        pod_uid: pod.metadata.uid.clone(),
        container_name: container.into(),
    };
    pod.spec.container_names().map(target).collect()
}

struct Judging<'a> {
    index: &'a Index,
    defaults: &'a Defaults,
    origins: BTreeMap<PolicyRef, String>,
    report: Report,
}

// === impl Judging ===

impl Judging<'_> {
    /// All policies of one container; gives those that are judged by it.
    fn container(&mut self, target: &Target) -> Vec<PolicyRef> {
        let inputs = match self.index.inputs(target) {
            Ok(inputs) => inputs,
            // What holds it back is reported as it is.
            Err(NoInputs::Held(_) | NoInputs::UnknownPod { .. } | NoInputs::OtherPod { .. }) => {
                return Vec::new();
            }
        };
        match pipeline::run(&inputs, self.defaults) {
            Ok(plan) => {
                self.remark(&plan, &format!("Pod {}/{}", target.namespace, target.pod));
                plan.policies
            }
            // One of its policies has problems of its own, or all of them together have one.
            Err(PipelineError::Resolve(_) | PipelineError::Level { .. }) => Vec::new(),
            Err(error) => {
                let origin = format!("Pod {}/{}", target.namespace, target.pod);
                self.report.add(Message::new(Severity::Error, origin, &error.to_string()));
                Vec::new()
            }
        }
    }

    fn alone(&mut self, policy: &Policy) {
        let namespace = self.index.namespace(&policy.object.metadata.namespace);
        match pipeline::check(&policy.object, namespace, self.defaults) {
            Ok(plan) => {
                self.remark(&plan, &format!("Namespace {}", policy.object.metadata.namespace));
            }
            Err(PipelineError::Resolve(error)) => {
                for problem in &error.problems {
                    self.report.add(Message::problem(&policy.origin, &error.policy, problem));
                }
            }
            Err(error) => {
                let (origin, text) = (policy.origin.clone(), error.to_string());
                self.report.add(Message::new(Severity::Error, origin, &text));
            }
        }
    }

    /// Findings, each with the file of its policy, or else what it is about.
    fn remark(&mut self, plan: &Plan, about: &str) {
        for finding in &plan.findings {
            let origin = finding.policy.as_ref().and_then(|policy| self.origins.get(policy));
            let origin = origin.map_or(about, String::as_str);
            self.report.add(Message::finding(origin, finding));
        }
    }
}

#[cfg(test)]
mod tests;
