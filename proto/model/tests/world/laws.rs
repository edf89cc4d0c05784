// SPDX-License-Identifier: Apache-2.0
//! Laws of the model and of its judge, for any rules, options and actions.

use policy_model::{
    Category, Feature, Match, NameGuard, Object, Options, PathObject, RulePath, RuleSet, Verdict,
    arbitrary::{near_path, supported_rule_set},
    eval::judge,
    hook::{Change, Event, File, Map, Open},
    world::{
        Action, At, Attempt, Bytes, Content, Image, Memory, Privilege, ProcessId, RootKind,
        Strength, World,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::play::{block, path, set};

fn any_file() -> impl Strategy<Value = File> {
    let names = || vec(near_path(), 0..2);
    let place = option::weighted(0.8, near_path());
    (place, [names(), names()], any::<[bool; 8]>()).prop_map(|(path, names, facts)| {
        let [identities, permitted] = names.map(|mut names| {
            names.sort();
            names.dedup();
            names
        });
        let [tainted, unlinked, foreign, internal, directory, irregular, executed, executable] =
            facts;
        let file = File { path, identities, permitted, tainted, unlinked, ..File::default() };
        File { foreign, internal, directory, irregular, executed, executable, ..file }
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    use Change::{Chmod, Chown, Mkdir, Mknod, Rmdir, Symlink, Truncate, Unlink};
    let change = select(vec![Unlink, Rmdir, Mknod, Mkdir, Symlink, Truncate, Chmod, Chown]);
    let open = any::<[bool; 3]>();
    let map = (option::of(any_file()), any::<[bool; 5]>());
    let pair = (any_file(), any_file(), any::<bool>());
    prop_oneof![
        (any_file(), option::of(vec("a|b", 1..3))).prop_map(|(file, argv)| Event::Exec(file, argv)),
        (any_file(), open).prop_map(|(file, [exec, write, memory])| {
            Event::Open(file, Open { exec, write, memory })
        }),
        map.prop_map(|(file, [protect, private, writable, modified, behind])| {
            Event::Map(Map { file, protect, private, writable, modified, behind })
        }),
        pair.prop_map(|(old, new, exchange)| Event::Rename { old, new, exchange }),
        (any_file(), any_file()).prop_map(|(old, new)| Event::Link { old, new }),
        (change, any_file()).prop_map(|(change, file)| Event::Name(change, file)),
        (any_file(), any::<bool>()).prop_map(|(at, moved)| Event::Mount { at, moved }),
        select(vec!["tmpfs", "overlay", "virtiofs", "bpf"]).prop_map(Event::KernMount),
        any::<[bool; 2]>().prop_map(|[stranger, attach]| Event::PtraceAccess { stranger, attach }),
        select(vec![Event::SysAdmin, Event::UserNamespace, Event::PtraceTraceme]),
    ]
}

/// The same options with this one on.
fn with_option(options: Options, at: usize) -> Options {
    match at {
        0 => Options { taint: true, ..options },
        1 => Options { no_unlinked_exec: true, ..options },
        2 => Options { no_anonymous_exec: true, ..options },
        3 => Options { no_execmod: true, ..options },
        4 => Options { no_poke: true, ..options },
        5 => Options { no_new_mounts: true, ..options },
        6 => Options { no_user_namespaces: true, ..options },
        7 => Options { known_file_systems_only: true, ..options },
        8 => Options { deny_reads_of_exec_blocked: true, ..options },
        9 => Options { allow_guard: true, ..options },
        10 => Options { hold: true, ..options },
        11 if options.name_guard == NameGuard::None => {
            Options { name_guard: NameGuard::Object, ..options }
        }
        _ => Options { name_guard: NameGuard::Ancestors, ..options },
    }
}

fn verdict(rules: &RuleSet, event: &Event) -> Verdict {
    judge(rules, None, event).unwrap().decision.verdict
}

fn world(kind: RootKind) -> (World, ProcessId) {
    let program = Content::program(1);
    let script = Content::script(3, path("/a/a"));
    let image = Image::new(kind)
        .file(&path("/a/a"), program.clone())
        .hard_link(&path("/a/a"), &path("/a/b"))
        .file(&path("/b/a"), Content::program(2))
        .file(&path("/b/b/a"), script)
        .symbolic_link(&path("/a"), &path("/b/c"))
        .public_directory(&path("/b/d"));
    let all = [
        Privilege::Root,
        Privilege::Mount,
        Privilege::Chroot,
        Privilege::Handle,
        Privilege::UserNamespace,
    ];
    image.start(Some(path("/a/a")), &all)
}

/// Few names, so that actions meet: files of the image, fresh ones, directories, a place below a
/// mount.
const NAMES: &[&str] = &[
    "/a/a", "/a/b", "/b/a", "/b/b/a", "/b/c/a", "/a", "/b", "/b/d", "/x", "/b/x", "/b/d/x",
    "/b/d/a",
];

fn any_at() -> impl Strategy<Value = At> {
    any_place().prop_map(At::Path)
}

fn any_place() -> impl Strategy<Value = RulePath> {
    select(NAMES).prop_map(path)
}

fn any_content() -> impl Strategy<Value = Content> {
    select(vec![Content::program(1), Content::program(2), Content::data(7)])
}

fn any_action() -> impl Strategy<Value = Action> {
    let into = select(vec![
        Memory::Anonymous,
        Memory::AtOnce,
        Memory::Device,
        Memory::Segment,
        Memory::Ring,
        Memory::Memfd,
        Memory::OwnMemory,
        Memory::TracedChild,
    ]);
    prop_oneof![
        prop_oneof![
            any_at().prop_map(Action::Exec),
            any_at().prop_map(Action::Load),
            any_at().prop_map(Action::MapThenProtect),
            any_at().prop_map(Action::Handle),
            any_at().prop_map(Action::Read),
            any_at().prop_map(Action::Open),
            any_at().prop_map(Action::OpenPath),
            any_at().prop_map(Action::Chmod),
            any_at().prop_map(|at| Action::Interpret(Bytes::File(at))),
            any_at().prop_map(Action::CloneTree),
            any_at().prop_map(Action::DetachedOverlay),
            any_at().prop_map(Action::Chroot),
        ],
        prop_oneof![
            (any_at(), any_place()).prop_map(|(from, to)| Action::Rename(from, to)),
            (any_place(), any_place()).prop_map(|(one, other)| Action::Exchange(one, other)),
            (any_at(), any_place()).prop_map(|(from, to)| Action::Link(from, to)),
            (any_at(), any_place()).prop_map(|(from, to)| Action::Copy(from, to)),
            (any_at(), any_place()).prop_map(|(from, to)| Action::Bind(from, to)),
            (any_at(), any_place()).prop_map(|(from, to)| Action::Overlay(from, to)),
            (any_place(), any_place()).prop_map(|(to, at)| Action::Symlink(to, at)),
            (any_place(), any_content()).prop_map(|(to, what)| Action::Obtain(to, what)),
            any_place().prop_map(Action::Unlink),
            any_place().prop_map(Action::Mkdir),
            any_place().prop_map(Action::Rmdir),
            any_place().prop_map(Action::Cover),
            any_place().prop_map(Action::OpenUnnamed),
        ],
        (any_content(), into).prop_map(|(content, into)| Action::Inject(content, into)),
        select(vec![Action::Unshare, Action::UnshareUser, Action::Evict, Action::Fork]),
    ]
}

proptest! {
    #[test]
    fn options_only_deny(
        rules in supported_rule_set(),
        event in any_event(),
        at in 0..11_usize,
    ) {
        let mut more = rules.clone();
        more.options = with_option(rules.options, at);
        prop_assert!(verdict(&more, &event) >= verdict(&rules, &event));
    }

    #[test]
    fn a_denial_says_why(rules in supported_rule_set(), event in any_event()) {
        let judgement = judge(&rules, None, &event).unwrap();
        // Who is killed sees no errno.
        let is_told = judgement.errno != 0 || judgement.late;
        prop_assert!(!judgement.is_denial() || is_told);
        prop_assert!(judgement.is_denial() || judgement.errno == 0);
        prop_assert!(!judgement.late || judgement.errno == 0);
        let silent = judgement.decision.reason.is_none();
        prop_assert!(!silent || judgement.decision.verdict == Verdict::Allow);
        if let Some(option) = judgement.primitive.and_then(|primitive| primitive.option()) {
            prop_assert!(Feature::of_options(&rules.options).contains(&option));
        }
    }

    #[test]
    fn any_history_is_judged_and_what_is_denied_changes_nothing(
        kind in select(RootKind::ALL.to_vec()),
        rules in supported_rule_set(),
        actions in vec(any_action(), 1..12),
    ) {
        let (mut now, who) = world(kind);
        now = now.apply(&rules);
        for action in actions {
            let step = now.perform(who, &action);
            match (now.attempt(&rules, who, &action).unwrap(), step) {
                (Attempt::Impossible(obstacle), Err(same)) => prop_assert_eq!(obstacle, same),
                (Attempt::Done { after, ran, .. }, Ok(step)) => {
                    prop_assert_eq!(&after, &step.after);
                    prop_assert_eq!(ran, step.ran);
                    now = after;
                }
                (Attempt::Denied(denied), Ok(step)) => {
                    prop_assert!(step.events.contains(&denied.event));
                }
                (attempt, step) => prop_assert!(false, "{:?} and {:?}", attempt, step),
            }
        }
    }

    /// Every inode with the target's bytes is held by identity, or tainted: they run from no file.
    /// One exception is known, see levels.rs: mmap_file does not show what is behind an overlay's
    /// file.
    #[test]
    fn bytes_of_a_held_program_run_from_no_file(
        kind in select(RootKind::ALL.to_vec()),
        actions in vec(any_action(), 1..16),
    ) {
        let object = PathObject { path: path("/a/a"), matching: Match::Identity };
        let rules = vec![block(1, Category::Process, Object::Path(object))];
        let options = Options { taint: true, no_unlinked_exec: true, ..Options::default() };
        let rules = set(rules, options);
        let (now, who) = world(kind);
        let mut now = now.apply(&rules);
        for action in actions {
            let Attempt::Done { after, ran, .. } = now.attempt(&rules, who, &action).unwrap()
            else {
                continue;
            };
            let overlaid = now.perform(who, &action).unwrap().events.iter().any(|event| {
                matches!(event, Event::Open(file, _) if file.internal)
            });
            let ran = ran.iter().any(|ran| {
                ran.content == Content::program(1) && ran.strength == Strength::File
            });
            prop_assert!(!ran || overlaid && matches!(action, Action::Load(_)), "{:?}", action);
            now = after;
        }
    }
}
