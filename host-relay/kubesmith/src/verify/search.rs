// SPDX-License-Identifier: Apache-2.0
//! The search of one container: which accesses are tried, and what the reference decision says.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use policy_model::{
    Access, Action, Category, Generation, NameGuard, Object, Options, PathObject, Postures, Rule,
    RulePath, RuleSet, Source, Target,
    eval::{UnsupportedRule, check_supported, eval},
};

use super::Verdict;
use crate::effective::{EffectivePolicy, union};

/// Directories and callers that are tried for each rule, each: the search stays linear in the
/// number of rules.
const MAX_TRIED: usize = 8;

/// Rules that are considered for all blocked programs together, so that policies whose rules all
/// speak about each other's programs do not take the square of their number: ten for each program of
/// the largest set that is measured (10,000). Each is judged some 400 times at most, in about 25 ns.
const MAX_CONSIDERED: usize = 100_000;

/// Path of the program if the rule blocks one by path.
pub(super) fn blocked_program(rule: &Rule) -> Option<&RulePath> {
    match &rule.object {
        Object::Path(PathObject { path, .. })
            if rule.category == Category::Process && rule.action == Action::Block =>
        {
            Some(path)
        }
        _ => None,
    }
}

/// Program rules of a container, by what can decide about a fresh name.
pub(super) struct Search<'a> {
    postures: Postures,
    options: Options,
    /// Rules on directories: they decide about names below.
    directories: BTreeMap<&'a RulePath, Vec<&'a Rule>>,
    /// Rules on one path: they decide about that path and about the inode found there.
    exact: BTreeMap<&'a RulePath, Vec<&'a Rule>>,
    /// Some Allow rule: that there is one decides about unmatched names.
    allow: Option<&'a Rule>,
    /// Directories and callers to try.
    places: Vec<RulePath>,
    callers: Vec<RulePath>,
    /// What is left of [`MAX_CONSIDERED`].
    left: Cell<usize>,
    /// Names of which no rule speaks, by directory: many programs share one.
    fresh: RefCell<BTreeMap<RulePath, Option<RulePath>>>,
}

/// One way to run the program.
struct Way {
    name: Name,
    caller: Option<RulePath>,
}

/// How the program is reached.
#[derive(Clone)]
enum Name {
    /// Under its own name.
    Own,
    /// It was renamed.
    Renamed(RulePath),
    /// Its directory was renamed, so that the program's name is this one.
    Moved(RulePath),
    /// By a descriptor, and it has no name any more.
    Unlinked,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        policies: &'a [EffectivePolicy],
        postures: Postures,
    ) -> Result<Self, UnsupportedRule> {
        let rules: Vec<&Rule> = policies
            .iter()
            .flat_map(|policy| &policy.rules)
            .map(|entry| &entry.rule)
            .filter(|rule| rule.category == Category::Process)
            .collect();
        let mut search = Self {
            postures,
            options: union(policies.iter().flat_map(|policy| &policy.options)),
            directories: BTreeMap::new(),
            exact: BTreeMap::new(),
            allow: rules.iter().find(|rule| rule.action == Action::Allow).copied(),
            places: places(&rules),
            callers: callers(&rules),
            left: Cell::new(MAX_CONSIDERED),
            fresh: RefCell::default(),
        };
        for rule in rules {
            check_supported(rule)?;
            match &rule.object {
                Object::Path(PathObject { path, .. }) => {
                    search.exact.entry(path).or_default().push(rule);
                }
                Object::Directory(directory) => {
                    search.directories.entry(&directory.path).or_default().push(rule);
                }
                // Not supported, so not reached.
                _ => {}
            }
        }
        Ok(search)
    }

    /// Tries every way to run the program that the rule blocks.
    pub(super) fn judge(
        &self,
        rule: &Rule,
        program: &RulePath,
    ) -> Result<Verdict, UnsupportedRule> {
        if self.left.get() == 0 {
            return Ok(Verdict::Unsearched);
        }
        let callers = self.callers_of(rule);
        let ways = self.ways(&callers, program)?;
        let rules = self.rules_about(program, &ways);
        self.left.set(self.left.get().saturating_sub(rules.rules().len()));
        if self.left.get() == 0 {
            return Ok(Verdict::Unsearched);
        }
        let mut searched = 0;
        for way in ways {
            // A caller that may run the program by its own name bypasses nothing.
            let direct = Way { name: Name::Own, caller: way.caller.clone() };
            if !denies(&rules, &direct, program)? {
                continue;
            }
            searched += 1;
            if !denies(&rules, &way, program)? {
                return Ok(Verdict::Bypassed { counter_example: way.describe(program) });
            }
        }
        Ok(Verdict::Holds { searched })
    }

    /// The rules that can decide about the program under its own name or one of these.
    fn rules_about(&self, program: &RulePath, ways: &[Way]) -> RuleSet {
        let names = ways.iter().filter_map(|way| way.name.path(program)).chain([program]);
        let ancestors = |name: &RulePath| {
            std::iter::successors(Some(name.clone()), RulePath::parent).collect::<Vec<_>>()
        };
        let above: BTreeSet<RulePath> = names.flat_map(ancestors).collect();
        let directories = above.iter().filter_map(|path| self.directories.get(path)).flatten();
        let exact = self.exact.get(program).into_iter().flatten();
        let rules = directories.chain(exact).chain(&self.allow).map(|rule| (*rule).clone());
        let mut set = RuleSet::empty(Target::default(), Generation::default());
        set.postures = self.postures;
        set.with_rules(rules.collect())
    }

    /// Nobody in particular, and the programs that rules name.
    fn callers_of(&self, rule: &Rule) -> Vec<Option<RulePath>> {
        let mut named = callers(&[rule]);
        named.extend(self.callers.iter().cloned());
        [None].into_iter().chain(named.into_iter().map(Some)).collect()
    }

    fn ways(
        &self,
        callers: &[Option<RulePath>],
        program: &RulePath,
    ) -> Result<Vec<Way>, UnsupportedRule> {
        let names = self.names(callers, program)?;
        let of_caller = |caller: &Option<RulePath>| {
            let caller = caller.clone();
            names.iter().map(move |name| Way { name: name.clone(), caller: caller.clone() })
        };
        Ok(callers.iter().flat_map(of_caller).collect())
    }

    /// What the program can be made to be called, as far as the options permit it.
    fn names(
        &self,
        callers: &[Option<RulePath>],
        program: &RulePath,
    ) -> Result<Vec<Name>, UnsupportedRule> {
        let parent = program.parent().unwrap_or_else(RulePath::root);
        let mut names: Vec<Name> = match self.options.name_guard {
            guard if guard == NameGuard::None || !self.is_guarded(callers, program)? => {
                self.fresh_names(parent).map(Name::Renamed).collect()
            }
            NameGuard::Object => self.moved(parent, program).map(Name::Moved).collect(),
            _ => Vec::new(),
        };
        if !self.options.no_unlinked_exec {
            names.push(Name::Unlinked);
        }
        Ok(names)
    }

    /// Whether a name guard speaks for this program: it does to those who may not execute it.
    fn is_guarded(
        &self,
        callers: &[Option<RulePath>],
        program: &RulePath,
    ) -> Result<bool, UnsupportedRule> {
        let rules = self.rules_about(program, &[]);
        self.left.set(self.left.get().saturating_sub(rules.rules().len()));
        for caller in callers {
            if !denies(&rules, &Way { name: Name::Own, caller: caller.clone() }, program)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Names in this directory, in `/tmp` and where rules permit or deny.
    fn fresh_names(&self, directory: RulePath) -> impl Iterator<Item = RulePath> {
        let tmp = RulePath::new("/tmp").ok();
        let directories = [Some(directory), tmp].into_iter().flatten();
        directories
            .chain(self.places.iter().cloned())
            .filter_map(|directory| self.fresh_name(&directory))
    }

    /// Names of the program after its directory was renamed: not into itself, and not the root.
    fn moved(&self, parent: RulePath, program: &RulePath) -> impl Iterator<Item = RulePath> {
        let base = program.as_str().rsplit('/').next().unwrap_or_default().to_owned();
        let above = parent.parent();
        let fresh = above.into_iter().flat_map(|above| self.fresh_names(above));
        fresh
            .filter(move |name| name.below(&parent).is_none())
            .filter_map(move |name| RulePath::new(format!("{name}/{base}")).ok())
            .filter(|name| !self.exact.contains_key(name))
    }

    /// A name in this directory that no rule speaks of; none where paths would grow too long.
    fn fresh_name(&self, directory: &RulePath) -> Option<RulePath> {
        let mut fresh = self.fresh.borrow_mut();
        fresh.entry(directory.clone()).or_insert_with(|| self.find_fresh_name(directory)).clone()
    }

    fn find_fresh_name(&self, directory: &RulePath) -> Option<RulePath> {
        let prefix = directory.as_str().trim_end_matches('/');
        let names = std::iter::once("x".to_owned()).chain((2..).map(|number| format!("x{number}")));
        let mut paths = names.map(|name| RulePath::new(format!("{prefix}/{name}")).ok());
        paths.find(|path| path.as_ref().is_none_or(|path| !self.exact.contains_key(path)))?
    }
}

// === impl Name ===

impl Name {
    fn path<'a>(&'a self, program: &'a RulePath) -> Option<&'a RulePath> {
        match self {
            Self::Own => Some(program),
            Self::Renamed(name) | Self::Moved(name) => Some(name),
            Self::Unlinked => None,
        }
    }
}

// === impl Way ===

impl Way {
    fn describe(&self, program: &RulePath) -> String {
        let parent = |path: &RulePath| path.parent().unwrap_or_else(RulePath::root);
        let mut text = match &self.name {
            Name::Own => format!("{program} runs"),
            Name::Renamed(name) => format!("mv {program} {name}; {name} runs"),
            Name::Moved(name) => {
                format!("mv {} {}; {name} runs", parent(program), parent(name))
            }
            Name::Unlinked => format!("exec 3<{program}; rm {program}; /proc/self/fd/3 runs"),
        };
        if let Some(caller) = &self.caller {
            text.push_str(&format!(", started by {caller}"));
        }
        text
    }
}

fn denies(rules: &RuleSet, way: &Way, program: &RulePath) -> Result<bool, UnsupportedRule> {
    let access = Access {
        category: Category::Process,
        path: way.name.path(program),
        identities: std::slice::from_ref(program),
        contents: &[],
        programs: &[],
        acts_as: &[],
        argv: None,
        exe: way.caller.as_ref(),
    };
    Ok(eval(rules, &access)?.verdict == policy_model::Verdict::Block)
}

fn callers(rules: &[&Rule]) -> Vec<RulePath> {
    let sources = rules.iter().flat_map(|rule| &rule.sources).map(|source| match source {
        Source::Path(path) => path,
        Source::Directory(directory) => &directory.path,
    });
    let distinct: BTreeSet<_> = sources.collect();
    distinct.into_iter().take(MAX_TRIED).cloned().collect()
}

/// Directories in which a renamed program might be permitted: those of Allow rules come first.
fn places(rules: &[&Rule]) -> Vec<RulePath> {
    let of = |allow: bool| {
        rules.iter().filter(move |rule| (rule.action == Action::Allow) == allow).filter_map(
            |rule| match &rule.object {
                Object::Directory(directory) => Some(&directory.path),
                _ => None,
            },
        )
    };
    of(true).chain(of(false)).take(MAX_TRIED).cloned().collect()
}
