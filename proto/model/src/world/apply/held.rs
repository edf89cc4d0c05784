// SPDX-License-Identifier: Apache-2.0
//! What is found when rules are applied, beside what they name by identity: other names of what is
//! permitted, programs of directories, sources.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    object::{Directory, Object},
    order::Place,
    path::RulePath,
    rule::{Action, Category, Rule, Source},
    rule_set::RuleSet,
    world::{DentryId, InodeId, World},
};

// === impl World ===

impl World {
    /// What a rule permits to be executed is known by that also under its other names.
    pub(super) fn note_permitted(&mut self, rules: &RuleSet) {
        let permits =
            |name: &RulePath| rules.rules().iter().any(|rule| rule.permits_program_at(name));
        let keeps = rules.keeps_permitted();
        for inode in Arc::make_mut(&mut self.inodes) {
            inode.permitted.retain(|name| keeps && permits(name));
        }
        let named = (0..self.dentries.len()).map(DentryId);
        let named = named.filter(|dentry| keeps && self.dentry(*dentry).linked);
        let named: Vec<_> = named
            .filter(|dentry| self.names_of(self.dentry(*dentry).inode) > 1)
            .filter_map(|dentry| Some((self.dentry(dentry).inode, self.path_of(dentry)?)))
            .filter(|(inode, name)| self.content(*inode).is_some() && permits(name))
            .collect();
        for (inode, name) in named {
            self.note(inode, |inode| inode.permitted.insert(name.clone()));
        }
    }

    /// Programs that lie in directories of Block rules, where no rule on less says otherwise.
    pub(super) fn note_programs(&mut self, rules: &RuleSet) {
        let blocks = rules.rules().iter().filter(|rule| {
            rules.options.hold && rule.category == Category::Process && rule.action == Action::Block
        });
        let held: Vec<(&Rule, &Directory)> = blocks
            .filter_map(|rule| match &rule.object {
                Object::Directory(directory) => Some((rule, directory)),
                _ => None,
            })
            .collect();
        for inode in Arc::make_mut(&mut self.inodes) {
            inode.programs.retain(|program| held.iter().any(|(_, held)| *held == program));
        }
        for (inode, name) in self.programs() {
            for (rule, directory) in &held {
                if directory.covers(&name) && !has_exception(rules, rule, &name) {
                    self.note(inode, |inode| inode.programs.insert((*directory).clone()));
                }
            }
        }
    }

    /// What acts as a source of a Block rule, under whatever name.
    pub(super) fn note_sources(&mut self, rules: &RuleSet, equal_content: bool) {
        let blocks = rules.rules().iter().filter(|rule| rule.action == Action::Block);
        let sources: BTreeSet<&Source> =
            blocks.filter(|_| rules.options.hold).flat_map(|rule| &rule.sources).collect();
        for inode in Arc::make_mut(&mut self.inodes) {
            inode.sources.retain(|source| sources.contains(source));
        }
        let (all, programs) = (self.files(), self.programs());
        for source in sources {
            let held: Vec<_> = match source {
                Source::Directory(directory) => {
                    let found = programs.iter().filter(|(_, name)| directory.covers(name));
                    found.map(|(inode, _)| *inode).collect()
                }
                Source::Path(path) => self.target(path).map_or(Vec::new(), |target| {
                    let content = self.content(target);
                    let is_twin = |twin: &InodeId| equal_content && self.content(*twin) == content;
                    let twins = all.iter().copied().filter(is_twin);
                    twins.filter(|twin| self.is_holdable(*twin)).chain([target]).collect()
                }),
            };
            for inode in held {
                self.note(inode, |inode| inode.sources.insert(source.clone()));
            }
        }
        for at in 0..self.processes.len() {
            let image = self.processes[at].image.map(|image| self.inode(image).sources.clone());
            let acts_as = image.into_iter().flatten().collect();
            Arc::make_mut(&mut self.processes)[at].acts_as = acts_as;
        }
    }

    /// What is executed by its name, with each of its names.
    fn programs(&self) -> Vec<(InodeId, RulePath)> {
        let named = (0..self.dentries.len()).map(DentryId);
        let named = named.filter(|dentry| self.dentry(*dentry).linked);
        let files = named.filter_map(|dentry| {
            let inode = self.dentry(dentry).inode;
            let is_program = self.content(inode).is_some() && self.inode(inode).executable;
            let path = self.path_of(dentry).filter(|_| is_program && self.is_holdable(inode))?;
            (!path.is_shared_object()).then_some((inode, path))
        });
        files.collect()
    }
}

/// Whether a more specific rule than this one permits what has this name.
fn has_exception(rules: &RuleSet, rule: &Rule, name: &RulePath) -> bool {
    rules.rules().iter().any(|other| {
        let names = match &other.object {
            Object::Path(object) => object.path == *name,
            Object::Directory(directory) => directory.covers(name),
            _ => false,
        };
        names
            && other.category == rule.category
            && other.action != Action::Block
            && Place::of(&other.object) > Place::of(&rule.object)
    })
}
