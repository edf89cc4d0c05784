// SPDX-License-Identifier: Apache-2.0
//! Which ways around a rule on a program still run it, under which rules, on which root.
//!
//! In: ways, [`Column`]s of rules, roots, who goes the ways. Each root is a real node with containers
//! that the driver `attack` runs in, a container for each column. Out: a [`Matrix`]. Never: counts a
//! denial of a way that was not seen to run on that root without rules.

use anyhow::{Result, bail};
use attacks::catalogue::{ALL, Entry, Set};
use attacks::report::Report as Gone;

use crate::bench::{Report, Targets};
use crate::node::{Node, NodeConfig};
use crate::prerequisites::{self, Purpose};
use crate::reference::Enforcer;
use crate::rootfs::Medium;
use crate::step::step;
use crate::vm::{KernelChoice, missing_for_share};

pub use self::column::{COLUMNS, Column, UnknownColumn};
pub use self::matrix::{Cell, Matrix};
use self::stage::Stage;

mod column;
mod figures;
mod matrix;
mod reproduced;
mod stage;
mod table;

/// The suite in the file of targets.
const SUITE: &str = "bypass";

/// What to try, and as whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ways; controls come by themselves.
    pub ways: Vec<&'static Entry>,
    /// The columns; the one without rules comes by itself.
    pub columns: Vec<&'static Column>,
    /// The roots.
    pub media: Vec<Medium>,
    /// Who goes the ways.
    pub user: User,
    /// What the guests boot.
    pub kernel: KernelChoice,
}

/// Who goes the ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum User {
    /// Root with all capabilities.
    #[default]
    Root,
    /// An ordinary user, without capabilities.
    Ordinary,
}

/// What came of the ways of one column on one root, or why there is none.
type Outcome = Result<Vec<Gone>, String>;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            ways: ALL.iter().filter(|entry| entry.set != Set::Control).collect(),
            columns: COLUMNS.iter().collect(),
            media: Medium::ALL.into(),
            user: User::Root,
            kernel: KernelChoice::Auto,
        }
    }
}

impl Options {
    /// Whether the figures mean what their targets are about.
    fn is_whole(&self) -> bool {
        let whole = Self::default();
        self.ways.len() == whole.ways.len() && self.user == whole.user
    }

    /// Whether every figure that has a target is taken.
    fn is_complete(&self) -> bool {
        self.is_whole() && self.columns.len() == COLUMNS.len() && self.media == Medium::ALL
    }

    /// What is gone: the controls, then the ways, in the catalogue's order.
    fn entries(&self) -> Vec<&'static Entry> {
        let chosen = |entry: &&Entry| {
            entry.set == Set::Control || self.ways.iter().any(|way| way.id == entry.id)
        };
        ALL.iter().filter(chosen).collect()
    }

    /// The column without rules, which all others are compared with, then the others.
    fn columns(&self) -> Vec<&'static Column> {
        let chosen = |column: &&Column| {
            column.is_empty() || self.columns.iter().any(|other| other.name == column.name)
        };
        COLUMNS.iter().filter(chosen).collect()
    }
}

// === impl User ===

impl User {
    /// As runtimes take it.
    fn id(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Ordinary => 1000,
        }
    }
}

/// Goes all ways under all columns on all roots, and tells how that compares with what has to be
/// reached.
///
/// # Errors
/// If what all of it needs cannot be had; a single root that cannot is told in the report.
pub fn run(options: &Options) -> Result<(Matrix, Report)> {
    prerequisites::ensure(&[Purpose::Compile, Purpose::Boot])?;
    let targets = if options.is_whole() { Targets::of(SUITE)? } else { Targets::default() };
    let mut report = Report::new(SUITE, targets);
    let mut matrix = Matrix::new(options.entries(), options.columns(), options.media.clone());
    for &medium in &options.media {
        report.part(&format!("attack on {medium}"), |report| {
            report.condition_once(&on_root(medium, &mut matrix, options)?);
            Ok(())
        });
    }
    report.condition_once(match options.user {
        User::Root => "as root with all capabilities",
        User::Ordinary => "as user 1000 without capabilities",
    });
    figures::add(&matrix, &mut report);
    reproduced::add(&matrix, &mut report)?;
    // What was not measured for a known reason has no value for that reason.
    if options.is_complete() && report.is_complete() {
        report.expect_all_targets();
    }
    Ok((matrix, report))
}

/// Adds the cells of a root, and says what it ran on.
fn on_root(medium: Medium, matrix: &mut Matrix, options: &Options) -> Result<String> {
    if medium == Medium::Virtiofs
        && let Some(reason) = missing_for_share()
    {
        bail!("no root on virtio-fs: {reason}");
    }
    let mut config = NodeConfig::new(&format!("bypass-{medium}")).attacked(medium);
    config.kernel = options.kernel;
    if matrix.columns.iter().any(|column| column.is_reference()) {
        config.files.push(Enforcer::file()?);
    }
    let node = Node::start(&config)?;
    let stage = Stage { node: &node, medium, user: options.user };
    for (number, column) in matrix.columns.clone().into_iter().enumerate() {
        let outcome = step(&format!("{medium}: {column}"), |_| {
            stage.go(column, &column.pod(number), &matrix.entries)
        });
        matrix.put(column.name, medium, outcome?);
    }
    let release = node.vm.must(&["uname", "-r"])?;
    node.vm.sound()?;
    Ok(format!("Linux {} under QEMU, TCG, no KVM", release.trim()))
}
