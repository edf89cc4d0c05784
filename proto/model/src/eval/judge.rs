// SPDX-License-Identifier: Apache-2.0
//! The reference decision on a hook's event: rules by name and identity, and the options of the set.
//!
//! Rules first: of all that they say about an event the strictest holds. Options come after them and
//! only deny.

mod guards;

use super::{Decision, UnsupportedRule, eval, object_matches};
use crate::{
    access::Access,
    event::{Reason, Verdict},
    hook::{Change, Event, File, Map, Open},
    ids::RuleId,
    object::Object,
    path::RulePath,
    primitive::Primitive,
    rule::{Category, Source},
    rule_set::RuleSet,
};

const EPERM: i32 = 1;
const EACCES: i32 = 13;

/// File systems whose mounts reach past the container: others' data by a shared tag, and the
/// agent's maps.
pub const FORBIDDEN_FILE_SYSTEMS: &[&str] = &["virtiofs", "bpf"];

/// What the engine does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Verdict, reason, rules.
    pub decision: Decision,
    /// The option that decided, or made the rule speak of this event.
    pub primitive: Option<Primitive>,
    /// Positive errno that the caller sees; zero if permitted, and if he is killed.
    pub errno: i32,
    /// Decided when the arguments could be read: the program is in place by then, and a denial
    /// kills it before its first instruction.
    pub late: bool,
}

/// Decides one event of a subject.
///
/// # Errors
/// If a rule that could speak of the event is of a kind that is not built yet.
pub fn judge<'a>(
    rules: &'a RuleSet,
    actor: impl Into<Actor<'a>>,
    event: &Event,
) -> Result<Judgement, UnsupportedRule> {
    let judge = Judge { rules, actor: actor.into() };
    let mut worst = Judgement::ALLOWED;
    for judgement in judge.rules_on(event)? {
        if judgement.decision.verdict > worst.decision.verdict
            || worst.decision.reason.is_none() && judgement.decision.reason.is_some()
        {
            worst = judgement;
        }
    }
    if worst.is_denial() && !worst.late {
        return Ok(worst);
    }
    Ok(judge.options_on(event)?.unwrap_or(worst))
}

// === impl Judgement ===

impl Judgement {
    /// Nothing speaks of it.
    const ALLOWED: Self = Self {
        decision: Decision { verdict: Verdict::Allow, reason: None, rules: Vec::new() },
        primitive: None,
        errno: 0,
        late: false,
    };

    /// Whether the attempt ends here.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        self.decision.verdict == Verdict::Block
    }

    fn by_rules(decision: Decision) -> Self {
        let errno = if decision.verdict == Verdict::Block { EACCES } else { 0 };
        Self { decision, primitive: None, errno, late: false }
    }

    fn denied(reason: Reason, primitive: Option<Primitive>, errno: i32) -> Self {
        let decision =
            Decision { verdict: Verdict::Block, reason: Some(reason), rules: Vec::new() };
        Self { decision, primitive, errno, late: false }
    }

    fn hardened(primitive: Primitive, errno: i32) -> Self {
        Self::denied(Reason::Hardening, Some(primitive), errno)
    }
}

/// A subject under a rule set.
struct Judge<'a> {
    rules: &'a RuleSet,
    actor: Actor<'a>,
}

/// What a subject runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Actor<'a> {
    /// Name of its executable, by which all rules know it.
    pub exe: Option<&'a RulePath>,
    /// Sources that this was found as when the rules were applied, by which Block rules know it too.
    pub acts_as: &'a [Source],
}

impl<'a> From<Option<&'a RulePath>> for Actor<'a> {
    fn from(exe: Option<&'a RulePath>) -> Self {
        Self { exe, acts_as: &[] }
    }
}

// === impl Judge ===

impl Judge<'_> {
    /// What rules say, and what no rule set may permit.
    fn rules_on(&self, event: &Event) -> Result<Vec<Judgement>, UnsupportedRule> {
        let decisions = match event {
            Event::Exec(file, argv) => return Ok(vec![self.rules_on_exec(file, argv.as_deref())?]),
            Event::Open(file, open) => self.rules_on_open(file, *open)?,
            Event::Map(map) => {
                let Some(file) = &map.file else { return Ok(Vec::new()) };
                self.run_blocked(file)?.or(self.program_blocked(file)?).into_iter().collect()
            }
            Event::Rename { old, new, .. } | Event::Link { old, new } => {
                vec![self.decide(Category::File, old)?, self.decide(Category::File, new)?]
            }
            Event::Name(_, file) => vec![self.decide(Category::File, file)?],
            Event::Mount { at, .. } => return Ok(self.covering_mount(at).into_iter().collect()),
            Event::KernMount(kind) if FORBIDDEN_FILE_SYSTEMS.contains(kind) => {
                return Ok(vec![Judgement::denied(Reason::SelfProtection, None, EPERM)]);
            }
            Event::PtraceAccess { stranger: true, .. } => {
                return Ok(vec![Judgement::denied(Reason::SelfProtection, None, EPERM)]);
            }
            _ => Vec::new(),
        };
        Ok(decisions.into_iter().map(Judgement::by_rules).collect())
    }

    fn rules_on_exec(
        &self,
        file: &File,
        argv: Option<&[String]>,
    ) -> Result<Judgement, UnsupportedRule> {
        let access = Access { argv, ..self.access_to(Category::Process, file) };
        let judgement = Judgement::by_rules(eval(self.rules, &access)?);
        if awaits_arguments(self.rules, file) {
            return Ok(Judgement { errno: 0, late: true, ..judgement });
        }
        Ok(judgement)
    }

    fn rules_on_open(&self, file: &File, open: Open) -> Result<Vec<Decision>, UnsupportedRule> {
        let mut decisions = Vec::new();
        if open.exec && !is_put_off(self.rules, file) {
            decisions.extend(self.exec_blocked(file)?);
        }
        // Behind what lies in front of it, a program of a blocked directory keeps its name.
        if open.exec && file.internal {
            decisions.extend(self.program_blocked(file)?);
        }
        let decision = self.decide(Category::File, file)?;
        // An exec is the process category's business, and no Allow rule can name what the kernel
        // keeps to itself; a rule that speaks of the file still holds.
        let lifted = open.exec || file.internal;
        if !(lifted && decision.reason == Some(Reason::Posture)) {
            decisions.push(decision);
        }
        Ok(decisions)
    }

    fn options_on(&self, event: &Event) -> Result<Option<Judgement>, UnsupportedRule> {
        let options = &self.rules.options;
        Ok(match event {
            Event::Exec(file, _) => self.refused_program(file),
            Event::Open(file, open) => return self.refused_open(file, *open),
            // Options have looked at the file in front.
            Event::Map(map) if !map.behind => self.refused_map(map),
            Event::Rename { old, new, exchange } => {
                let guarded = self.guarded(old)?.or(self.guarded(new)?);
                let back = if *exchange { self.kept_place(old)? } else { None };
                guarded.or(back).or(self.kept_place(new)?)
            }
            // The new name of a link is as blocked as any file under it. What is permitted gets no
            // name by which it could be written.
            Event::Link { old, new } => self.guarded(old)?.or(self.kept(old)?).or(self.kept(new)?),
            Event::Name(Change::Mknod | Change::Truncate, file) => self.kept(file)?,
            Event::SysAdmin if options.no_new_mounts => {
                Some(Judgement::hardened(Primitive::NewMount, EPERM))
            }
            Event::UserNamespace if options.no_user_namespaces => {
                Some(Judgement::hardened(Primitive::UserNamespace, EPERM))
            }
            Event::PtraceAccess { attach: true, .. } | Event::PtraceTraceme if options.no_poke => {
                Some(Judgement::hardened(Primitive::Poke, EPERM))
            }
            _ => None,
        })
    }

    fn refused_program(&self, file: &File) -> Option<Judgement> {
        let options = &self.rules.options;
        first(&[
            (options.taint && file.tainted, Primitive::Taint),
            (options.no_unlinked_exec && file.unlinked, Primitive::UnlinkedExec),
            (options.known_file_systems_only && file.foreign, Primitive::UnknownFileSystem),
        ])
    }

    fn refused_open(&self, file: &File, open: Open) -> Result<Option<Judgement>, UnsupportedRule> {
        let options = &self.rules.options;
        if open.exec {
            return Ok(first(&[(options.taint && file.tainted, Primitive::Taint)]));
        }
        let held = if options.deny_reads_of_exec_blocked { self.run_blocked(file)? } else { None };
        let unread = held.map(|decision| Judgement {
            primitive: Some(Primitive::ExecRead),
            ..Judgement::by_rules(decision)
        });
        let poked = first(&[(options.no_poke && open.memory && open.write, Primitive::Poke)]);
        let kept = if open.write { self.kept(file)? } else { None };
        Ok(unread.or(poked).or(kept))
    }

    fn refused_map(&self, map: &Map) -> Option<Judgement> {
        let options = &self.rules.options;
        let of = |fact: fn(&File) -> bool| map.file.as_ref().is_some_and(fact);
        let unnamed = map.file.as_ref().is_none_or(|file| file.unlinked || file.irregular);
        let (private, written) = (map.private, map.file.is_some() && map.modified);
        first(&[
            (options.taint && of(|file| file.tainted), Primitive::Taint),
            (
                options.known_file_systems_only && of(|file| file.foreign && !file.internal),
                Primitive::UnknownFileSystem,
            ),
            (
                options.no_anonymous_exec && (unnamed || private && map.writable),
                Primitive::AnonymousExec,
            ),
            (options.no_execmod && map.protect && private && written, Primitive::Execmod),
        ])
    }

    fn decide(&self, category: Category, file: &File) -> Result<Decision, UnsupportedRule> {
        eval(self.rules, &self.access_to(category, file))
    }

    fn access_to<'f>(&'f self, category: Category, file: &'f File) -> Access<'f> {
        let Actor { exe, acts_as } = self.actor;
        Access { exe, acts_as, ..access_to(category, file) }
    }

    /// As [`Self::exec_blocked`], where what the task executes may go on.
    fn run_blocked(&self, file: &File) -> Result<Option<Decision>, UnsupportedRule> {
        if was_judged(self.rules, file) { Ok(None) } else { self.exec_blocked(file) }
    }

    /// The decision of rules by identity that deny the execution of this inode.
    fn exec_blocked(&self, file: &File) -> Result<Option<Decision>, UnsupportedRule> {
        if file.identities.is_empty() && file.programs.is_empty() {
            return Ok(None);
        }
        self.blocking_rules(&File { path: None, ..file.clone() })
    }

    /// The decision of rules on directories that deny the execution of what has this name: where names
    /// are held, such a program is not loaded by another one either. Libraries lie there too.
    fn program_blocked(&self, file: &File) -> Result<Option<Decision>, UnsupportedRule> {
        let is_program = |path: &RulePath| file.executable && !path.is_shared_object();
        if !self.rules.options.hold || !file.path.as_ref().is_some_and(is_program) {
            return Ok(None);
        }
        let decision = self.blocking_rules(&File::place(file.path.clone()))?;
        let of_directory = |id: &RuleId| {
            let rule = self.rules.rules().iter().find(|rule| rule.id == *id);
            rule.is_some_and(|rule| matches!(rule.object, Object::Directory(_)))
        };
        Ok(decision.filter(|decision| decision.rules.iter().all(of_directory)))
    }

    fn blocking_rules(&self, file: &File) -> Result<Option<Decision>, UnsupportedRule> {
        let decision = self.decide(Category::Process, file)?;
        let denies = decision.verdict == Verdict::Block && decision.reason == Some(Reason::Rule);
        Ok(denies.then_some(decision))
    }
}

/// Whether rules on arguments speak of a program: its exec is decided when they can be read.
fn awaits_arguments(rules: &RuleSet, file: &File) -> bool {
    let access = access_to(Category::Process, file);
    rules.rules().iter().any(|rule| {
        rule.category == Category::Process
            && !rule.allowed_args.is_empty()
            && object_matches(rule, &access)
    })
}

/// Whether the open of a program by execve is decided later, with its arguments. That of a layer's
/// file only where the file in front is the same.
#[must_use]
pub fn is_put_off(rules: &RuleSet, file: &File) -> bool {
    awaits_arguments(rules, file) && (!file.internal || file.executed)
}

/// Whether the task executes this inode because its arguments were judged and permitted that.
#[must_use]
pub fn was_judged(rules: &RuleSet, file: &File) -> bool {
    file.executed && awaits_arguments(rules, &File { path: None, ..file.clone() })
}

fn access_to(category: Category, file: &File) -> Access<'_> {
    Access {
        category,
        path: file.path.as_ref(),
        identities: &file.identities,
        programs: &file.programs,
        // No rule of the model's names a hash; files of equal content are held by identity.
        contents: &[],
        argv: None,
        exe: None,
        acts_as: &[],
    }
}

fn first(refusals: &[(bool, Primitive)]) -> Option<Judgement> {
    let (_, primitive) = refusals.iter().find(|(refused, _)| *refused)?;
    Some(Judgement::hardened(*primitive, EACCES))
}
