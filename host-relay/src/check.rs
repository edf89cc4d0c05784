// SPDX-License-Identifier: Apache-2.0
//! `check DIR`: what the relay would refuse or remark, without a guest.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use kubesmith::crd::Object;

use crate::{
    pipeline::{self, Defaults},
    watch::{Change, Files, read_all},
};

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

/// Checks a directory and prints the result.
///
/// # Errors
/// If the directory cannot be read.
pub fn run(directory: &Path) -> Result<ExitCode, CheckError> {
    let mut files = Files::default();
    read_all(directory, &mut files, &BTreeSet::new())
        .map_err(|source| CheckError::Read { path: directory.into(), source })?;
    let refused = print(&mut files, &mut io::stdout().lock()).map_err(CheckError::Write)?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints everything that is refused or remarkable, and counts the former.
fn print(files: &mut Files, output: &mut impl Write) -> io::Result<usize> {
    let batch = files.batch().unwrap_or_default();
    let mut refused = batch.refusals.len();
    for refusal in &batch.refusals {
        writeln!(output, "error: {refusal}")?;
    }
    let mut policies = 0usize;
    for change in &batch.changes {
        let Change::Put { object: Object::Policy(policy), origin } = change else { continue };
        policies += 1;
        match pipeline::check(policy, &Defaults::default()) {
            Ok(findings) => {
                for finding in findings {
                    let kind = if finding.code.is_remark() { "note" } else { "warning" };
                    writeln!(output, "{kind}: {origin}: {finding}")?;
                }
            }
            Err(error) => {
                refused += 1;
                writeln!(output, "error: {origin}: {error}")?;
            }
        }
    }
    writeln!(output, "{policies} policies read, {refused} errors")?;
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (usize, String) {
        let mut files = Files::default();
        files.put(Path::new("p.yaml"), Ok(Some(text.into())));
        let mut output = Vec::new();
        let refused = print(&mut files, &mut output).unwrap();
        (refused, String::from_utf8(output).unwrap())
    }

    fn policy(spec: &str) -> String {
        format!(
            "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n\
             metadata: {{name: p}}\nspec: {spec}\n"
        )
    }

    #[test]
    fn errors_name_file_object_and_field() {
        let (refused, text) = checked(&policy("{network: {matchProtocols: [{protocol: raw}]}}"));
        assert_eq!(refused, 1);
        let start = "error: p.yaml: KubeArmorPolicy default/p: spec.network.matchProtocols[0]: not";
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn a_good_directory_has_no_errors() {
        let (refused, text) = checked(&policy("{process: {matchPaths: [{path: /usr/bin/apt}]}}"));
        assert_eq!(refused, 0);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("note: p.yaml: [KS120 hardened] default/p"), "{text}");
        assert_eq!(lines[1..], ["1 policies read, 0 errors"]);
    }

    #[test]
    fn findings_are_warnings() {
        let (refused, text) = checked(&policy("{}"));
        assert_eq!(refused, 0);
        assert!(text.contains("warning: p.yaml: [KS114 no-rules] default/p"), "{text}");
    }
}
