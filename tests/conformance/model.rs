// SPDX-License-Identifier: Apache-2.0
//! The first two runs of a case: the world model, judged by the reference decision, and judged by
//! the programs' own decision, compiled for the host.

use anyhow::{Context as _, Result, bail};
use e2e::rootfs::Medium;
use policy_model::{
    Primitive, RulePath, RuleSet, Verdict,
    eval::{Judgement, judge},
    hook,
    world::{
        Action, Content, Image, Obstacle, Privilege, ProcessId, RootKind, World,
        ways::{Needs, image},
    },
};

use crate::{
    case::{Caps, Case, Expect, File, PolicyChange, Run, Step},
    decision::Decider,
    outcome::{End, Seen, complaint},
    programs::{Trouble, programs},
    stages::rule_set,
    words,
};

const SHELL: &str = "/bin/busybox";

/// What decides by arguments.
const LATE_HOOK: &str = "bprm_committed_creds";

/// What came of a run of a case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// What is not as the case says.
    pub(crate) failures: Vec<String>,
    /// Steps that could not be taken or judged, with reasons.
    pub(crate) skipped: Vec<String>,
}

// === impl Findings ===

impl Findings {
    /// Of a case that could not be played.
    pub(crate) fn of_error(error: anyhow::Error) -> Self {
        Self { failures: vec![format!("{error:#}")], ..Self::default() }
    }
}

/// Who judges the hooks' events.
#[derive(Clone, Copy)]
pub(crate) enum Leg<'a> {
    /// `policy_model::eval`
    Reference,
    /// `decide.h`
    Programs(&'a Decider),
}

/// A container of the case in the model.
struct Place {
    world: World,
    /// In force if policies are.
    rules: RuleSet,
}

/// What a step did.
struct Taken {
    end: End,
    seen: Vec<Seen>,
    after: World,
}

/// Plays a case in the model.
pub(crate) fn run(case: &Case, leg: Leg<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    if case.has_denials() {
        play(case, leg, false, &mut findings)?;
    }
    if findings.failures.is_empty() {
        play(case, leg, true, &mut findings)?;
    }
    findings.skipped.sort();
    findings.skipped.dedup();
    Ok(findings)
}

/// Without policies, only what is denied with them must succeed.
fn play(case: &Case, leg: Leg<'_>, with_policies: bool, findings: &mut Findings) -> Result<()> {
    let mut places = places(case, with_policies)?;
    for (number, step) in (1..).zip(&case.steps) {
        let run = match step {
            Step::Policy { policy } if with_policies => {
                change(case, &mut places, *policy)?;
                continue;
            }
            Step::Policy { .. } => continue,
            Step::Run(run) => run,
        };
        let place = &mut places[case.container(run)?];
        match take(place, run, leg) {
            Err(reason) => findings.skipped.push(format!("step {number}: {reason:#}")),
            Ok(taken) => {
                let failures = check(run, &taken, with_policies);
                findings
                    .failures
                    .extend(failures.map(|failure| format!("step {number}: {failure}")));
                place.world = taken.after;
            }
        }
    }
    Ok(())
}

fn check(run: &Run, taken: &Taken, with_policies: bool) -> impl Iterator<Item = String> {
    let mut failures = Vec::new();
    if with_policies {
        failures.extend(complaint(run, &taken.end));
        for expected in &run.events {
            if !taken.seen.iter().any(|seen| seen.is(expected)) {
                failures.push(format!("no event is {expected:?}; there are {:?}", taken.seen));
            }
        }
    } else if run.expect != Expect::Ok && taken.end != End::Ok {
        failures.push(format!(
            "the case is broken: without policies `{}` ended with {}",
            run.run.join(" "),
            taken.end
        ));
    }
    failures.into_iter()
}

fn places(case: &Case, with_policies: bool) -> Result<Vec<Place>> {
    let privileges = privileges(case);
    let containers = 0..case.containers.len();
    let places = containers.map(|container| {
        let kind = match case.medium()? {
            _ if container > 0 => RootKind::Plain,
            Medium::Tmpfs | Medium::Ext4 => RootKind::Plain,
            Medium::Overlay1 | Medium::Overlay2 => RootKind::Overlay,
            Medium::Virtiofs => RootKind::VirtioFs,
        };
        let needs = Needs { alias: true, twin: true, ..Needs::default() };
        let image = lay(image(kind, needs), case)?;
        let (world, _) = image.start(Some(path(SHELL)?), &privileges);
        let mut rules = rule_set(case, container)?;
        if !with_policies {
            rules = RuleSet::empty(rules.target.clone(), rules.generation);
        }
        Ok(Place { world: world.apply(&rules), rules })
    });
    places.collect()
}

fn privileges(case: &Case) -> Vec<Privilege> {
    let mut privileges = vec![Privilege::UserNamespace];
    if case.user == 0 {
        privileges.extend([Privilege::Root, Privilege::Chroot]);
        if case.caps == Caps::All {
            privileges.extend([Privilege::Mount, Privilege::Handle]);
        }
    }
    privileges
}

/// Files of the case: directories and files first, then what refers to them.
fn lay(mut image: Image, case: &Case) -> Result<Image> {
    for (number, (name, file)) in (100..).zip(&case.files) {
        let at = path(name)?;
        image = match file {
            File::Text(_) => image.file(&at, Content::data(number)),
            File::Script(_) => image.file(&at, Content::script(number, path(SHELL)?)),
            File::Directory(_) => image.directory(&at),
            File::Copy(_) | File::Variant(_) | File::Hardlink(_) | File::Symlink(_) => image,
        };
    }
    for (number, (name, file)) in (100..).zip(&case.files) {
        let at = path(name)?;
        image = match file {
            File::Copy(from) => {
                let content = image.content_of(&path(from)?);
                image.file(&at, content.with_context(|| format!("{from} is not there"))?)
            }
            File::Variant(from) => {
                let content = image.content_of(&path(from)?);
                let content = content.with_context(|| format!("{from} is not there"))?;
                image.file(&at, Content { number, ..content })
            }
            File::Hardlink(from) => image.hard_link(&path(from)?, &at),
            File::Symlink(to) => image.symbolic_link(&path(to)?, &at),
            File::Text(_) | File::Script(_) | File::Directory(_) => image,
        };
    }
    Ok(image)
}

fn change(case: &Case, places: &mut [Place], change: PolicyChange) -> Result<()> {
    for (container, place) in places.iter_mut().enumerate() {
        let rules = rule_set(case, container)?;
        place.rules = match change {
            PolicyChange::Apply => rules,
            PolicyChange::Delete => RuleSet::empty(rules.target.clone(), rules.generation),
        };
        place.world = place.world.apply(&place.rules);
    }
    Ok(())
}

/// An error is a reason to skip the step.
fn take(place: &Place, run: &Run, leg: Leg<'_>) -> Result<Taken> {
    let forked = place.world.perform(ProcessId::FIRST, &Action::Fork)?;
    let (mut world, who) = (forked.after.clone(), forked.after.newest_process());
    let mut seen = Vec::new();
    for (by, action) in words::actions(&run.run, &world, who)? {
        let step = match world.perform(by, &action) {
            Ok(step) => step,
            Err(obstacle) => {
                let end = impossible(&action, obstacle)?;
                return Ok(Taken { end, seen, after: world });
            }
        };
        let (exe, actor) = (world.exe(by).cloned(), world.actor(by));
        for event in &with_arguments(step.events, &run.run) {
            let judgement = match leg {
                Leg::Reference => judge(&place.rules, actor, event)?,
                Leg::Programs(decider) => match programs(&place.rules, actor, event, decider) {
                    Ok(judgement) => judgement,
                    Err(Trouble::Unjudged(why)) => bail!(why),
                    Err(Trouble::Broken(error)) => return Err(error),
                    Err(Trouble::Differs(how)) => {
                        return Ok(Taken { end: End::Failed(how), seen, after: world });
                    }
                },
            };
            seen.extend(report(&judgement, event, exe.as_ref()));
            if judgement.is_denial() {
                let end = if judgement.late { End::Killed } else { End::of_errno(judgement.errno) };
                return Ok(Taken { end, seen, after: world });
            }
        }
        world = step.after;
    }
    Ok(Taken { end: End::Ok, seen, after: world })
}

/// What is executed has the words of the step, a script's interpreter its own before them; the
/// scripts of cases begin with `#!/bin/busybox sh`.
fn with_arguments(events: Vec<hook::Event>, words: &[String]) -> Vec<hook::Event> {
    let mut argv = words.to_vec();
    let mut with = |event| match event {
        hook::Event::Exec(file, _) => {
            let given = argv.clone();
            let script = text_of(file.path.as_ref());
            argv = [SHELL.into(), "sh".into(), script].into_iter().chain(argv.drain(1..)).collect();
            hook::Event::Exec(file, Some(given))
        }
        other => other,
    };
    events.into_iter().map(&mut with).collect()
}

fn text_of(path: Option<&RulePath>) -> String {
    path.map(ToString::to_string).unwrap_or_default()
}

/// What mv(1) does where a rename is not possible is more than an action.
fn impossible(action: &Action, obstacle: Obstacle) -> Result<End> {
    match (action, obstacle) {
        (Action::Rename(..), Obstacle::CrossDevice) => bail!("mv copies and removes on this root"),
        _ => Ok(End::Failed(obstacle.to_string())),
    }
}

fn report(judgement: &Judgement, event: &hook::Event, exe: Option<&RulePath>) -> Option<Seen> {
    let verdict = match judgement.decision.verdict {
        Verdict::Allow => return None,
        Verdict::Audit => "audit",
        Verdict::Block => "block",
    };
    Some(Seen {
        verdict: verdict.into(),
        hook: if judgement.late { LATE_HOOK } else { event.hook() }.into(),
        path: text_of(event.file().and_then(|file| file.path.as_ref())),
        source: text_of(exe),
        reason: judgement.decision.reason.map(|reason| format!("{reason:?}")).unwrap_or_default(),
        primitive: judgement.primitive.map(Primitive::name).map(Into::into),
    })
}

fn path(text: &str) -> Result<RulePath> {
    Ok(RulePath::new(text)?)
}
