// SPDX-License-Identifier: Apache-2.0
//! Subjects by inode: what Block rules say of each class to who acts as some sources.
//!
//! Which sources one inode is held for shows only when it is found, so decisions for a subject are
//! written when the first inode of it is, for all classes that there are, and for later classes with
//! these. The set is not in force yet.

use std::collections::BTreeSet;

use guest_bpf::abi;

use super::{Maps, MapsError, failed, holding::Holding, identity::Tag, install::Installed};

// === impl Maps ===

impl Maps {
    /// Writes what a class of inodes does as a subject, and what is decided of it for all subjects.
    pub(super) fn write_actors(
        &mut self,
        next: &mut Installed,
        holding: &Holding<'_>,
        (tags, class): (&BTreeSet<Tag>, u32),
    ) -> Result<(), MapsError> {
        let rules = holding.held_rules(tags);
        for at in 0..next.actors.len() {
            self.write_acting(next, holding, (at, class, &rules))?;
        }
        let sources = holding.sources_of(tags);
        if sources.is_empty() {
            return Ok(());
        }
        let known = next.actors.iter().position(|known| *known == sources);
        let at = match known {
            Some(at) => at,
            None => self.add_actor(next, holding, sources)?,
        };
        // Of this class by itself, if it came with its subject.
        self.write_acting(next, holding, (at, class, &rules))?;
        let key = abi::SubjectKey { set: next.set, class_id: class };
        let subject = [(key, subject_of(at))].into_iter();
        self.subjects.write(subject, &mut next.subjects).map_err(failed("writing a subject"))
    }

    fn add_actor(
        &mut self,
        next: &mut Installed,
        holding: &Holding<'_>,
        sources: BTreeSet<u32>,
    ) -> Result<usize, MapsError> {
        let at = next.actors.len();
        next.actors.push(sources);
        for (class, rules) in &holding.plan.sourced {
            self.write_acting(next, holding, (at, *class, rules))?;
        }
        let held: Vec<_> =
            next.identities.iter().map(|(tags, class)| (tags.clone(), *class)).collect();
        for (tags, class) in held {
            let rules = holding.held_rules(&tags);
            self.write_acting(next, holding, (at, class, &rules))?;
        }
        Ok(at)
    }

    fn write_acting(
        &mut self,
        next: &mut Installed,
        holding: &Holding<'_>,
        (at, class_id, rules): (usize, u32, &[usize]),
    ) -> Result<(), MapsError> {
        let Some(sources) = next.actors.get(at) else { return Ok(()) };
        let (set, subject) = (next.set, subject_of(at));
        let judged = holding.plan.judge.judge_acting(rules, sources);
        let entries = judged.into_iter().map(|(category, decision)| {
            (abi::DecisionKey { set, class_id, subject, category }, decision)
        });
        self.decisions.write(entries, &mut next.decisions).map_err(failed("writing a decision"))
    }
}

fn subject_of(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(abi::SUBJECT_HELD - 1) | abi::SUBJECT_HELD
}
