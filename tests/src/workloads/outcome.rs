// SPDX-License-Identifier: Apache-2.0
//! What all workloads came to: a table for people, JSON for machines, figures for targets.

use std::fmt::Write as _;

use anyhow::Error;
use serde::Serialize;

use crate::bench::{Figure, Report};
use crate::rootfs::Medium;

use super::judge::{Judgement, Verdict, judge};
use super::run::Ran;
use super::table::Table;
use super::{Denial, Level, Policies, Under};

/// All results.
#[derive(Debug, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    report: Report,
    cells: Vec<Cell>,
}

/// One workload under one set of rules.
#[derive(Debug, Serialize)]
struct Cell {
    workload: String,
    #[serde(skip)]
    about: String,
    root: Medium,
    level: Level,
    policies: Policies,
    #[serde(flatten)]
    judgement: Judgement,
    /// The step that failed.
    stopped_at: Option<String>,
    denials: Vec<Denial>,
    seconds: f64,
    /// The same without rules.
    seconds_free: f64,
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn new(report: Report) -> Self {
        Self { report, cells: Vec::new() }
    }

    /// Adds the runs of all workloads of a table, each with the one without rules.
    pub(super) fn add(
        &mut self,
        (root, under): (Medium, Under),
        table: &Table,
        (free, ran): (&[Ran], Vec<Ran>),
    ) {
        let Under { level, policies } = under;
        let first = self.cells.len();
        for (workload, (free, ran)) in table.workloads.iter().zip(free.iter().zip(ran)) {
            self.cells.push(Cell {
                workload: workload.name.clone(),
                about: workload.about.clone(),
                root,
                level,
                policies,
                judgement: judge(workload, (root, under), (free, &ran)),
                stopped_at: ran.failed.map(|failure| failure.step),
                denials: ran.denials,
                seconds: ran.took.as_secs_f64(),
                seconds_free: free.took.as_secs_f64(),
            });
        }
        let of = |verdict| {
            let cells = self.cells[first..].iter();
            cells.filter(|cell| cell.judgement.verdict == verdict).count()
        };
        let figures = [
            ("unexplained", of(Verdict::Unexplained) + of(Verdict::Broken)),
            ("costs", of(Verdict::Costs)),
        ];
        for (what, count) in figures {
            let name = format!("{what}.{policies}.{level}.{root}");
            let note = format!("of {} workloads", table.workloads.len());
            self.report.add(Figure::new(&name, f64::from(count as u32), "").note(note));
        }
    }

    /// Says why all workloads could not be run; without rules, none could be judged.
    pub(super) fn not_run(&mut self, root: Medium, under: Option<Under>, error: &Error) {
        let under = under.map_or("without rules".to_owned(), |under| under.to_string());
        self.report.not_measured(format!("{root}, {under}: {}", error.root_cause()));
    }

    pub(super) fn expect_all_targets(&mut self) {
        self.report.expect_all_targets();
    }

    /// Figures and whether they are met.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The matrices of all sets of policies, what is behind each cell that is not `works`, and the
    /// figures; with colours if wanted.
    #[must_use]
    pub fn table(&self, colours: bool) -> String {
        let mut text = String::new();
        for policies in Policies::ALL {
            for level in Level::ALL {
                text += &self.matrix(Under { level, policies });
            }
        }
        for cell in &self.cells {
            for remark in &cell.judgement.remarks {
                let Cell { workload, root, level, policies, judgement, .. } = cell;
                let verdict = judgement.verdict.word();
                let _ = writeln!(
                    text,
                    "{verdict:<12} {workload}, {root}, {policies}, {level}: {remark}"
                );
            }
        }
        text + "\n" + &self.report.table(colours)
    }

    /// Workloads by roots.
    fn matrix(&self, under: Under) -> String {
        let is_meant = |cell: &&Cell| (cell.level, cell.policies) == (under.level, under.policies);
        let cells: Vec<_> = self.cells.iter().filter(is_meant).collect();
        let roots: Vec<_> = Medium::ALL
            .into_iter()
            .filter(|root| cells.iter().any(|cell| cell.root == *root))
            .collect();
        let Some(first) = roots.first() else { return String::new() };
        let mut text = format!("{:<20}", under.to_string());
        for root in &roots {
            let _ = write!(text, "{root:<13}");
        }
        for row in cells.iter().filter(|cell| cell.root == *first) {
            let _ = write!(text, "\n{:<20}", row.workload);
            for root in &roots {
                let of = |cell: &&&Cell| cell.workload == row.workload && cell.root == *root;
                let word = cells.iter().find(of).map_or("", |cell| cell.judgement.verdict.word());
                let _ = write!(text, "{word:<13}");
            }
            text += &row.about;
        }
        text + "\n\n"
    }
}

// === impl Verdict ===

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Costs => "costs",
            Self::Unexplained => "UNEXPLAINED",
            Self::Broken => "BROKEN",
        }
    }
}
