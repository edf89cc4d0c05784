// SPDX-License-Identifier: Apache-2.0
//! What the programs would decide at a hook: what they look up there, in their order, given to
//! `decide.h`, and held against the reference.
//!
//! Never guesses: where a hook decides by itself and not by a function of `decide.h`, the event is
//! not judged here, and the run says so.

use policy_model::{
    Access, Category, NameGuard, Options, Primitive, Reason, RuleSet, Verdict,
    eval::{Actor, Judgement, UnsupportedRule, eval, is_put_off, judge, was_judged},
    hook::{Change, Event, File, Map},
};

use crate::decision::{Code, Decider, Facts, Outcome, Record, access_to};

/// Why an event has no judgement.
pub(crate) enum Trouble {
    /// No function of `decide.h` decides it.
    Unjudged(String),
    /// The programs' decision is not the reference's.
    Differs(String),
    /// Neither.
    Broken(anyhow::Error),
}

/// The reference's judgement, if the programs' is the same.
pub(crate) fn programs(
    rules: &RuleSet,
    actor: Actor<'_>,
    event: &Event,
    decider: &Decider,
) -> Result<Judgement, Trouble> {
    let expected = judge(rules, actor, event)?;
    let mut facts = rule_facts(rules, actor, event)?;
    let by_rules = facts.len();
    facts.extend(option_facts(rules, actor, event)?);
    let outcomes = decider.decide(&facts)?;
    let differs = |how: &dyn std::fmt::Debug| {
        Trouble::Differs(format!("decide.h: {how:?} of {event}, not {expected:?}"))
    };
    if let Some(denial) = outcomes.iter().find(|outcome| outcome.is_denial()) {
        return if denial.is(&expected) { Ok(expected) } else { Err(differs(denial)) };
    }
    if expected.is_denial() {
        let by_hook = expected.primitive.is_some()
            || expected.decision.reason == Some(Reason::SelfProtection);
        return Err(if by_hook {
            Trouble::Unjudged(format!("the hook {} decides by itself", event.hook()))
        } else {
            differs(&outcomes)
        });
    }
    let loudest = outcomes[..by_rules].iter().max_by_key(|outcome| outcome.verdict);
    if loudest.is_some_and(|outcome| outcome.verdict != expected.decision.verdict) {
        return Err(differs(&outcomes));
    }
    Ok(expected)
}

/// Rules come first, at every hook.
fn rule_facts(rules: &RuleSet, actor: Actor<'_>, event: &Event) -> Result<Vec<Facts>, Trouble> {
    let with = |category, file: &File, argv: Option<&[String]>| {
        Facts::of(rules, &Access { argv, ..access_to(category, actor, file) })
    };
    let of = |category, file: &File| with(category, file, None);
    Ok(match event {
        // lib/arguments.h: where they count, they are known by then.
        Event::Exec(file, argv) => vec![with(Category::Process, file, argv.as_deref())?],
        Event::Open(file, open) => {
            let by_file = of(Category::File, file)?;
            // lib/object.h: no posture for what an exec opens and what the kernel keeps to itself.
            let lifted = open.exec || file.internal;
            let by_file = if lifted { by_file.without_posture() } else { by_file };
            let mut facts = Vec::new();
            if open.exec && !is_put_off(rules, file) {
                facts.push(Facts::held(rules, actor, file)?);
            }
            if open.exec && file.internal {
                facts.push(Facts::in_directory(rules, actor, file)?);
            }
            facts.push(by_file);
            facts
        }
        Event::Map(Map { file: Some(file), .. }) if was_judged(rules, file) => Vec::new(),
        Event::Map(Map { file: Some(file), .. }) => {
            vec![Facts::held(rules, actor, file)?, Facts::in_directory(rules, actor, file)?]
        }
        Event::Rename { old, new, .. } | Event::Link { old, new } => {
            vec![of(Category::File, old)?, of(Category::File, new)?]
        }
        Event::Name(_, file) => vec![of(Category::File, file)?],
        _ => Vec::new(),
    })
}

fn option_facts(rules: &RuleSet, actor: Actor<'_>, event: &Event) -> Result<Vec<Facts>, Trouble> {
    let Options { deny_reads_of_exec_blocked, .. } = rules.options;
    let held = |primitive, file: &File| -> Result<Facts, Trouble> {
        let exec = Record::by_inode(rules, actor, file)?;
        Ok(Facts::Blocked { primitive, exec })
    };
    Ok(match event {
        Event::Exec(file, _) => {
            let (file, options) = (Some(file.clone()), rules.options);
            vec![Facts::Exec(Code { options, file, writable: false, modified: false })]
        }
        Event::Map(map) if !map.behind => {
            let mut file = map.file.clone();
            // lib/code.h: the layer behind a known overlay's file is known by it.
            if let Some(file) = file.as_mut().filter(|file| file.internal && !file.unlinked) {
                file.foreign = false;
            }
            vec![Facts::Map(Code {
                options: rules.options,
                file,
                writable: map.private && map.writable,
                modified: map.private && map.protect && map.modified,
            })]
        }
        Event::Open(file, open) if !open.exec => {
            let mut facts = Vec::new();
            if deny_reads_of_exec_blocked && !was_judged(rules, file) {
                facts.push(held(Primitive::ExecRead, file)?);
            }
            if open.write {
                facts.extend(kept(rules, actor, file)?);
            }
            facts
        }
        _ => name_facts(rules, actor, event)?,
    })
}

/// lib/name.h
fn name_facts(rules: &RuleSet, actor: Actor<'_>, event: &Event) -> Result<Vec<Facts>, Trouble> {
    let guards = rules.options.name_guard != NameGuard::None;
    let guarded = |file: &File| -> Result<Vec<Facts>, Trouble> {
        if !guards {
            return Ok(Vec::new());
        }
        let records = [Record::by_name(rules, actor, file)?, Record::by_inode(rules, actor, file)?];
        let blocked = |exec| Facts::Blocked { primitive: Primitive::NameGuard, exec };
        Ok(records.map(blocked).into())
    };
    let kept = |file: &File| kept(rules, actor, file);
    Ok(match event {
        Event::Rename { old, new, exchange } => {
            let back = if *exchange { kept(old)? } else { None };
            let kept = back.into_iter().chain(kept(new)?);
            guarded(old)?.into_iter().chain(guarded(new)?).chain(kept).collect()
        }
        Event::Link { old, new } => {
            let kept = kept(old)?.into_iter().chain(kept(new)?);
            guarded(old)?.into_iter().chain(kept).collect()
        }
        Event::Name(Change::Mknod | Change::Truncate, file) => kept(file)?.into_iter().collect(),
        _ => Vec::new(),
    })
}

/// lib/rules.h: what is permitted keeps its content, unless a rule on files permits that.
fn kept(rules: &RuleSet, actor: Actor<'_>, file: &File) -> Result<Option<Facts>, Trouble> {
    let on_file = eval(rules, &access_to(Category::File, actor, file))?;
    let is_free = on_file.verdict == Verdict::Allow && on_file.reason == Some(Reason::Rule);
    if !rules.keeps_permitted() || is_free {
        return Ok(None);
    }
    let exec = Record::of_permitted(rules, file.path.as_slice());
    let exec = exec.or_else(|| Record::of_permitted(rules, &file.permitted));
    Ok(Some(Facts::Blocked { primitive: Primitive::AllowGuard, exec }))
}

// === impl Outcome ===

impl Outcome {
    /// Of more rules than a record names, the first are compared.
    fn is(&self, judgement: &Judgement) -> bool {
        let decision = &judgement.decision;
        self.verdict == decision.verdict
            && self.reason == decision.reason
            && self.primitive == judgement.primitive
            && self.rules.iter().all(|rule| decision.rules.contains(rule))
            && self.rules.is_empty() == decision.rules.is_empty()
    }

    fn is_denial(&self) -> bool {
        self.verdict == Verdict::Block
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<UnsupportedRule> for Trouble {
    fn from(error: UnsupportedRule) -> Self {
        Self::Broken(error.into())
    }
}
