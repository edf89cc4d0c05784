// SPDX-License-Identifier: Apache-2.0
//! Which operations `guest-bench` performs in a place, and what its samples come down to.

use anyhow::{Context as _, Result, ensure};
use guest_init::samples::Samples;

use super::{
    Group,
    rig::{BENCH, Depth, TREES, file, fresh},
    samples::Summary,
};

/// Processes that measure the same, one after the other: what a process brings with it (its stack,
/// its pages) is part of the noise too.
const PASSES: usize = 3;

/// Trees of files that each process uses.
const TREES_A_PASS: usize = TREES / PASSES;

/// What is measured in a place, in the order of the table.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
struct Operation {
    /// Name of its figures: a group, then what is special.
    key: &'static str,
    target: Target,
}

/// What is operated on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// The measuring program.
    Program,
    /// Files again and again.
    Files(Depth),
    /// The same, by the time of the measuring thread alone: a server outside of the guest is waited
    /// for.
    ServedFiles(Depth),
    /// Each file of a directory once. Only in the first process: the next would find them opened.
    FreshFiles(Depth),
}

/// What was measured in a place, by key.
#[derive(Clone, Debug)]
pub(super) struct Measured(Vec<(String, Summary)>);

// === impl Plan ===

impl Plan {
    /// All operations of the groups.
    pub(super) fn of(groups: &[Group]) -> Self {
        let operations = groups.iter().flat_map(|group| match group {
            Group::Open => vec![
                operation("open.first.depth3", Target::FreshFiles(Depth::Three)),
                operation("open.first.depth10", Target::FreshFiles(Depth::Ten)),
                operation("open.depth3", Target::Files(Depth::Three)),
                operation("open.depth10", Target::Files(Depth::Ten)),
            ],
            Group::Exec | Group::Fork => vec![operation(group.name(), Target::Program)],
            group => vec![operation(group.name(), Target::Files(Depth::Three))],
        });
        Self { operations: operations.collect() }
    }

    /// Those that open and close, if there are any.
    pub(super) fn opens(&self) -> Option<Self> {
        self.only(|operation| operation.key.starts_with("open."))
    }

    /// Those that use a file more than once.
    pub(super) fn without_first(&self) -> Self {
        let warm = self.only(Operation::is_repeatable);
        warm.unwrap_or(Self { operations: Vec::new() })
    }

    /// The same opens where a server outside of the guest has the files.
    pub(super) fn served(&self) -> Self {
        let served = |operation: Operation| match operation.target {
            Target::Files(depth) => Operation { target: Target::ServedFiles(depth), ..operation },
            _ => operation,
        };
        Self { operations: self.without_first().operations.into_iter().map(served).collect() }
    }

    fn only(&self, wanted: impl Fn(&Operation) -> bool) -> Option<Self> {
        let operations = self.operations.iter().filter(|operation| wanted(operation));
        let operations: Vec<_> = operations.cloned().collect();
        (!operations.is_empty()).then_some(Self { operations })
    }

    /// Lets several processes measure, and takes all their samples together. `which` tells the
    /// fresh files of this measurement from others'.
    pub(super) fn measure(
        &self,
        which: usize,
        measure: impl Fn(&[String]) -> Result<Vec<Samples>>,
    ) -> Result<Measured> {
        let mut calls = vec![Vec::new(); self.operations.len()];
        for pass in 0..PASSES {
            let list = self.arguments(pass, which);
            let arguments: Vec<_> = list.iter().map(|(_, argument)| argument.clone()).collect();
            let samples = measure(&arguments)?;
            ensure!(samples.len() == list.len(), "guest-bench measured something else");
            let mut pass = vec![Vec::new(); self.operations.len()];
            for ((index, _), samples) in list.iter().zip(samples) {
                pass[*index].extend(samples.calls());
            }
            calls.iter_mut().zip(pass).for_each(|(all, pass)| all.push(pass));
        }
        let named = self.operations.iter().zip(calls).map(|(operation, passes)| {
            let summary = Summary::of(&passes).with_context(|| format!("no {}", operation.key))?;
            Ok((operation.key.to_owned(), summary))
        });
        Ok(Measured(named.collect::<Result<_>>()?))
    }

    /// What one process is to do, each with the index of its operation.
    fn arguments(&self, pass: usize, which: usize) -> Vec<(usize, String)> {
        let all = self.operations.iter().enumerate();
        let due = all.filter(|(_, operation)| pass == 0 || operation.is_repeatable());
        let arguments = due.flat_map(|(index, operation)| {
            operation.arguments(pass, which).into_iter().map(move |argument| (index, argument))
        });
        arguments.collect()
    }
}

// === impl Operation ===

impl Operation {
    fn is_repeatable(&self) -> bool {
        !matches!(self.target, Target::FreshFiles(_))
    }

    /// As `guest-bench` takes them.
    fn arguments(&self, pass: usize, which: usize) -> Vec<String> {
        let (verb, _) = self.key.split_once('.').unwrap_or((self.key, ""));
        let in_trees = |verb: &str, depth| {
            let trees = (0..TREES_A_PASS).map(|tree| pass * TREES_A_PASS + tree);
            trees.map(|tree| format!("{verb}:{}", file(depth, tree))).collect()
        };
        match self.target {
            Target::Program => vec![format!("{verb}:{BENCH}")],
            Target::Files(depth) => in_trees(verb, depth),
            Target::ServedFiles(depth) => in_trees(&format!("{verb}-own"), depth),
            Target::FreshFiles(depth) => vec![format!("touch:{}", fresh(depth, which))],
        }
    }
}

fn operation(key: &'static str, target: Target) -> Operation {
    Operation { key, target }
}

// === impl Measured ===

impl Measured {
    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, Summary)> {
        self.0.iter()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Summary> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, summary)| summary)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn files_that_are_opened_once_are_left_to_the_first_process() {
        let lists = RefCell::new(Vec::new());
        let plan = Plan::of(&[Group::Open, Group::Stat]);
        let measured = plan.measure(2, |list| {
            lists.borrow_mut().push(list.to_vec());
            Ok(vec![Samples { clock: 10, batch: 10, batches: vec![110] }; list.len()])
        });
        let lists = lists.into_inner();
        assert_eq!(lists[0][0], "touch:/t0/fresh2");
        assert_eq!(lists[0][2], "open:/t0/n00/file");
        assert!(lists[2].iter().all(|argument| !argument.starts_with("touch")));
        assert_eq!(lists[2].last().unwrap(), "stat:/t8/n80/file");
        let measured = measured.unwrap();
        assert_eq!(measured.get("open.depth10").unwrap().median, 10.0);
        assert_eq!(measured.get("open.first.depth3").unwrap().noise, 0.0);
    }

    #[test]
    fn a_plan_without_opens_has_none() {
        assert!(Plan::of(&[Group::Exec]).opens().is_none());
        let served = Plan::of(&[Group::Open]).served();
        let arguments: Vec<_> = served.arguments(0, 0).into_iter().map(|(_, text)| text).collect();
        assert!(arguments.iter().all(|text| text.starts_with("open-own:/t")), "{arguments:?}");
        assert_eq!(Plan::of(&[Group::Open]).opens().unwrap().without_first().operations.len(), 2);
    }
}
