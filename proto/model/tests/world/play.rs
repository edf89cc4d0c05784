// SPDX-License-Identifier: Apache-2.0
//! Plays the steps of a way, and tells how it ended.

use policy_model::{
    Action as RuleAction, Category, Directory, Generation, Match, NameGuard, Object, Options,
    PathObject, Rule, RuleId, RulePath, RuleSet, Target, Verdict,
    arbitrary::all_options,
    eval::judge,
    hook::Event,
    world::{
        Obstacle, ProcessId, RootKind, World,
        ways::{SCRIPT, TARGET, Way},
    },
};

/// How a way ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The target ran.
    Ran,
    /// A hook denied a step.
    Denied(String),
    /// A step cannot be done on this kind of root.
    Impossible(Obstacle),
}

pub(crate) fn path(text: &str) -> RulePath {
    RulePath::new(text).unwrap()
}

/// Takes the steps until this engine denies an event.
pub(crate) fn play(
    way: &Way,
    mut world: World,
    denies: impl Fn(&World, ProcessId, &Event) -> bool,
) -> End {
    let mut ran = Vec::new();
    for (who, action) in way.steps() {
        let step = match world.perform(who, &action) {
            Ok(step) => step,
            Err(obstacle) => return End::Impossible(obstacle),
        };
        if let Some(event) = step.events.iter().find(|event| denies(&world, who, event)) {
            return End::Denied(event.to_string());
        }
        ran.extend(step.ran);
        world = step.after;
    }
    assert!(ran.iter().any(|ran| ran.content == way.target()), "{}: the steps miss it", way.id);
    End::Ran
}

/// As [`play`], with the reference decision on this rule set as the engine.
pub(crate) fn play_under(way: &Way, kind: RootKind, rules: &RuleSet) -> End {
    play_in(way, way.world(kind).apply(rules), rules)
}

pub(crate) fn play_in(way: &Way, world: World, rules: &RuleSet) -> End {
    play(way, world, |world, who, event| {
        let judgement = judge(rules, world.actor(who), event).unwrap();
        judgement.decision.verdict == Verdict::Block
    })
}

pub(crate) fn block(id: u64, category: Category, object: Object) -> Rule {
    Rule::new(RuleId(id), category, RuleAction::Block, object)
}

pub(crate) fn tree(text: &str) -> Object {
    Object::Directory(Directory { path: path(text), recursive: true, atomic_volume: false })
}

pub(crate) fn set(rules: Vec<Rule>, options: Options) -> RuleSet {
    let mut set = RuleSet::empty(Target::default(), Generation(1)).with_rules(rules);
    set.options = options;
    set
}

/// Of both targets.
pub(crate) fn blocks(first: u64, category: Category, matching: Match) -> Vec<Rule> {
    let object = |path| Object::Path(PathObject { path, matching });
    (first..)
        .zip([TARGET, SCRIPT])
        .map(|(id, target)| block(id, category, object(path(target))))
        .collect()
}

/// What the author wrote.
pub(crate) fn literal() -> RuleSet {
    set(blocks(1, Category::Process, Match::Name), Options::default())
}

/// The rules of `base`, with these options.
pub(crate) fn held(options: Options) -> RuleSet {
    let twins = blocks(3, Category::Process, Match::Identity);
    set([literal().rules(), &twins].concat(), options)
}

pub(crate) fn base() -> RuleSet {
    held(Options { name_guard: NameGuard::Object, ..Options::default() })
}

pub(crate) fn contained() -> RuleSet {
    let options = Options { deny_reads_of_exec_blocked: true, ..base().options };
    held(options)
}

/// `contained` where somebody must read the target.
pub(crate) fn contained_read() -> RuleSet {
    held(Options { taint: true, no_unlinked_exec: true, ..base().options })
}

pub(crate) fn sealed() -> RuleSet {
    held(all_options())
}
