// SPDX-License-Identifier: Apache-2.0
//! Figures of the whole product, and whether they are what they have to be.
//!
//! In: which groups of figures to take. Out: a [`Report`]: a table for people, JSON for machines.
//! What has to be reached is in `benches/targets.toml` and nowhere else. A figure that cannot be
//! taken is named with its reason and does not keep the others from being taken. Never: fails
//! because of a figure that is too high; who prints the report decides what follows.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::Result;

use crate::prerequisites::{self, Purpose};
use crate::step::step;
use crate::vm::KernelChoice;

pub use self::report::{Figure, Report};
pub(crate) use self::targets::Targets;

mod change;
mod instructions;
mod memory;
mod operations;
mod policies;
mod report;
mod rig;
mod samples;
mod sizes;
mod start;
mod targets;

/// What figures are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Instructions of open and close.
    Open,
    /// Instructions of pread of one byte.
    Read,
    /// Instructions of pwrite of one byte.
    Write,
    /// Instructions of stat.
    Stat,
    /// Instructions of renaming a file there and back.
    Rename,
    /// Instructions of linking a file and removing the link.
    Link,
    /// Instructions of making a directory and removing it.
    Mkdir,
    /// Instructions of starting a program and waiting for its end.
    Exec,
    /// Instructions of forking and waiting for the child's end.
    Fork,
    /// From the start of a guest to an agent that enforces.
    Start,
    /// From a change of the policy directory to its enforcement; many rules.
    Change,
    /// What programs weigh: files and crates.
    Size,
}

/// A name that no group has.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no figures are called `{0}`")]
pub struct UnknownGroup(String);

/// Takes the figures of the suite `quick`, or some of them, on a kernel.
///
/// # Errors
/// If what all of them need cannot be had.
pub fn quick(chosen: &BTreeSet<Group>, kernel: KernelChoice) -> Result<Report> {
    prerequisites::ensure(&[Purpose::Compile, Purpose::BuildKernel, Purpose::Boot])?;
    step("programs", |_| rig::build())?;
    let name = match kernel {
        KernelChoice::Debian(_) => "quick-debian",
        _ => "quick",
    };
    let mut report = Report::new(name, Targets::of(name)?);
    let counted: Vec<_> = chosen.iter().copied().filter(|group| group.is_counted()).collect();
    if !counted.is_empty() {
        report.part("count instructions", |report| instructions::measure(&counted, kernel, report));
    }
    if chosen.contains(&Group::Start) {
        report.part("start agents", |report| start::measure(kernel, report));
    }
    if chosen.contains(&Group::Change) {
        report.part("change policies", |report| change::measure(kernel, report));
    }
    if chosen.contains(&Group::Size) {
        report.part("weigh programs", sizes::measure);
    }
    if chosen.len() == Group::ALL.len() {
        report.expect_all_targets();
    }
    Ok(report)
}

// === impl Group ===

impl Group {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 12] = [
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Stat,
        Self::Rename,
        Self::Link,
        Self::Mkdir,
        Self::Exec,
        Self::Fork,
        Self::Start,
        Self::Change,
        Self::Size,
    ];

    /// Its name on the command line, and the first word of its figures that count instructions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Stat => "stat",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Mkdir => "mkdir",
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Start => "start",
            Self::Change => "change",
            Self::Size => "size",
        }
    }

    fn is_counted(self) -> bool {
        !matches!(self, Self::Start | Self::Change | Self::Size)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Group {
    type Err = UnknownGroup;

    fn from_str(name: &str) -> Result<Self, UnknownGroup> {
        let found = Self::ALL.into_iter().find(|group| group.name() == name);
        found.ok_or_else(|| UnknownGroup(name.to_owned()))
    }
}
