// SPDX-License-Identifier: Apache-2.0
//! `reference-enforcer`: denies in one container what a peer of this product would deny there.
//!
//! In: a column of the matrix of ways around a rule and the program that is to be blocked, or rules
//! of one's own; and a container, by its control group or a process. Out: the line `ready` once all
//! programs are attached. It enforces until it is killed, reports nothing, and pins nothing.

mod enforce;
mod hooks;
mod rules;
mod subject;

use std::{io::Write as _, path::PathBuf, thread};

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::{
    rules::{Column, PathsEnd, Plan, Rule},
    subject::{Subject, SubjectKind},
};

/// Denies in one container what a peer would deny there, until it is killed
#[derive(Debug, Parser)]
struct Args {
    /// Column of the matrix
    #[arg(long, requires = "targets", conflicts_with_all = ["subject", "paths", "rules"])]
    column: Option<Column>,
    /// Program that the column blocks; may be repeated
    #[arg(long = "target", value_name = "PATH", requires = "column")]
    targets: Vec<String>,
    /// What tells the container's tasks from others
    #[arg(long, requires = "rules")]
    subject: Option<SubjectKind>,
    /// Where paths end
    #[arg(long, requires = "rules")]
    paths: Option<PathsEnd>,
    /// Hooks joined by commas, `=`, and a path that they deny; `DIR/*` for what is directly in a
    /// directory, `DIR/**` for all below it; may be repeated
    #[arg(long = "rule", value_name = "HOOKS=PATH", requires_all = ["subject", "paths"],
        required_unless_present = "column")]
    rules: Vec<Rule>,
    /// The container's control group, a directory below the mount of cgroup v2
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// The container's first process
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> Result<()> {
    let Args { column, targets, subject, paths, rules, cgroup, pid } = Args::parse();
    let plan = match (column, subject, paths) {
        (Some(column), _, _) => column.plan(&targets),
        (None, Some(subject), Some(paths)) => Plan { subject, paths, rules },
        _ => unreachable!("clap requires the one or the other"),
    };
    let subject = Subject::find(plan.subject, cgroup.as_deref(), pid)?;
    let _attached = enforce::attach(&plan, &subject)?;
    println!("ready");
    std::io::stdout().flush().context("say that it is ready")?;
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_column_or_rules_are_needed_and_not_both() {
        let parse =
            |words: &[&str]| Args::try_parse_from([&["reference-enforcer"], words].concat());
        let own = ["--subject", "cgroup", "--paths", "task-root", "--rule", "exec=/usr/bin/apt"];
        assert!(parse(&["--column", "P'", "--target", "/usr/bin/apt"]).is_ok());
        assert!(parse(&own).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--column", "K"]).is_err());
        assert!(parse(&own[..4]).is_err());
        assert!(parse(&own[4..]).is_err());
        assert!(parse(&[&["--column", "K", "--target", "/a"], own.as_slice()].concat()).is_err());
    }
}
