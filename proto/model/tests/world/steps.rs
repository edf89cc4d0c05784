// SPDX-License-Identifier: Apache-2.0
//! Single actions: what they leave, which hooks they pass, what the kernel refuses by itself.

use policy_model::{
    Category, Match, NameGuard, Object, Options, PathObject, Primitive, Reason, RuleSet,
    hook::Event,
    world::{
        Action, At, Attempt, Content, Image, Obstacle, Privilege, ProcessId, RootKind, Strength,
        World,
    },
};

use crate::play::{base, block, contained, path, sealed, set, tree};

const ROOT: &[Privilege] = &[Privilege::Root, Privilege::Mount];

fn at(text: &str) -> At {
    At::Path(path(text))
}

fn image(kind: RootKind) -> Image {
    Image::new(kind)
        .file(&path("/usr/bin/apt"), Content::program(1))
        .file(&path("/usr/bin/true"), Content::program(2))
        .file(&path("/etc/passwd"), Content::data(3))
        .directory(&path("/mnt"))
        .public_directory(&path("/tmp"))
}

fn start(kind: RootKind) -> (World, ProcessId) {
    image(kind).start(Some(path("/bin/sh")), ROOT)
}

fn done(world: &World, who: ProcessId, action: &Action) -> World {
    world.perform(who, action).unwrap().after
}

fn hooks(world: &World, who: ProcessId, action: &Action) -> Vec<&'static str> {
    world.perform(who, action).unwrap().events.iter().map(Event::hook).collect()
}

fn denial(
    world: &World,
    rules: &RuleSet,
    action: &Action,
) -> Option<(Reason, Option<Primitive>, i32)> {
    let world = world.apply(rules);
    match world.attempt(rules, ProcessId::FIRST, action).unwrap() {
        Attempt::Denied(denied) => {
            let judgement = denied.judgement;
            Some((judgement.decision.reason.unwrap(), judgement.primitive, judgement.errno))
        }
        Attempt::Done { .. } => None,
        Attempt::Impossible(obstacle) => panic!("{action:?} is impossible: {obstacle}"),
    }
}

#[test]
fn names_lead_where_they_were_moved_to() {
    for kind in RootKind::ALL {
        let (world, who) = start(kind);
        let moved = done(&world, who, &Action::Rename(at("/usr/bin/apt"), path("/tmp/x")));
        assert_eq!(moved.content_of(&path("/tmp/x")), Some(&Content::program(1)));
        assert_eq!(moved.content_of(&path("/usr/bin/apt")), None);
        let swapped =
            done(&world, who, &Action::Exchange(path("/usr/bin/apt"), path("/usr/bin/true")));
        assert_eq!(swapped.content_of(&path("/usr/bin/true")), Some(&Content::program(1)));
        assert_eq!(swapped.content_of(&path("/usr/bin/apt")), Some(&Content::program(2)));
        let linked = done(&world, who, &Action::Link(at("/usr/bin/apt"), path("/tmp/x")));
        let gone = done(&linked, who, &Action::Unlink(path("/usr/bin/apt")));
        assert_eq!(gone.content_of(&path("/tmp/x")), Some(&Content::program(1)));
    }
}

#[test]
fn a_write_changes_one_file_and_both_of_its_names() {
    for kind in RootKind::ALL {
        let (world, who) = start(kind);
        let linked = done(&world, who, &Action::Link(at("/usr/bin/apt"), path("/tmp/x")));
        let written = done(&linked, who, &Action::Obtain(path("/tmp/x"), Content::program(7)));
        assert_eq!(written.content_of(&path("/usr/bin/apt")), Some(&Content::program(7)));
        let copied = done(&world, who, &Action::Copy(at("/usr/bin/apt"), path("/tmp/y")));
        let written = done(&copied, who, &Action::Obtain(path("/tmp/y"), Content::program(7)));
        assert_eq!(written.content_of(&path("/usr/bin/apt")), Some(&Content::program(1)));
    }
}

#[test]
fn an_exec_passes_the_hooks_of_the_kernel_in_their_order() {
    let exec = Action::Exec(at("/usr/bin/apt"));
    let (plain, who) = start(RootKind::Plain);
    assert_eq!(hooks(&plain, who, &exec), ["file_open", "bprm_check_security", "mmap_file"]);
    let (overlay, who) = start(RootKind::Overlay);
    let expected =
        ["file_open", "file_open", "bprm_check_security", "mmap_file", "mmap_backing_file"];
    assert_eq!(hooks(&overlay, who, &exec), expected, "the layer's file is opened and mapped too");
    let step = plain.perform(who, &exec).unwrap();
    assert_eq!(step.ran[0].content, Content::program(1));
    assert_eq!(step.ran[0].strength, Strength::File);
}

#[test]
fn an_executable_is_called_by_the_rules_name_for_its_place() {
    let (world, who) = start(RootKind::Plain);
    let world = world.apply(&base());
    let world = done(&world, who, &Action::Bind(at("/usr"), path("/mnt")));
    let world = done(&world, who, &Action::Exec(at("/mnt/bin/true")));
    assert_eq!(world.exe(who), Some(&path("/usr/bin/true")));
}

#[test]
fn what_a_process_may_not_do_is_no_denial() {
    let (world, who) = image(RootKind::Plain).start(None, &[]);
    let cases = [
        (Action::Rename(at("/usr/bin/apt"), path("/tmp/x")), Obstacle::NotPermitted),
        // protected_hardlinks
        (Action::Link(at("/usr/bin/apt"), path("/tmp/x")), Obstacle::NotPermitted),
        (Action::Bind(at("/usr/bin"), path("/mnt")), Obstacle::NotPermitted),
        (Action::Chroot(at("/usr")), Obstacle::NotPermitted),
        (Action::UnshareUser, Obstacle::NotPermitted),
        (Action::Handle(at("/usr/bin/apt")), Obstacle::NotPermitted),
        (Action::Exec(at("/etc/passwd")), Obstacle::NotExecutable),
        (Action::Exec(at("/usr/bin/nothing")), Obstacle::Missing),
        (Action::Write(path("/tmp/x"), Content::program(1)), Obstacle::NoBytes),
        (Action::Mkdir(path("/tmp")), Obstacle::NotPermitted),
    ];
    for (action, obstacle) in cases {
        assert_eq!(world.perform(who, &action).unwrap_err(), obstacle, "{action:?}");
    }
    let copied = world.perform(who, &Action::Copy(at("/usr/bin/apt"), path("/tmp/x")));
    assert!(copied.is_ok(), "whoever reads a program may copy it where he may write");
}

#[test]
fn a_user_namespace_gives_what_mounts_need() {
    let (world, who) = image(RootKind::Plain).start(None, &[Privilege::UserNamespace]);
    let bind = Action::Bind(at("/usr/bin"), path("/mnt"));
    assert_eq!(world.perform(who, &bind).unwrap_err(), Obstacle::NotPermitted);
    let world = done(&world, who, &Action::UnshareUser);
    assert!(world.perform(who, &bind).is_ok());
    let (_, primitive, errno) = denial(&world, &sealed(), &Action::UnshareUser).unwrap();
    assert_eq!((primitive, errno), (Some(Primitive::UserNamespace), 1));
}

#[test]
fn the_name_guard_keeps_names_and_their_directories() {
    let rename = |from, to| Action::Rename(at(from), path(to));
    let (world, _) = start(RootKind::Plain);
    let guarded = Some((Reason::Rule, Some(Primitive::NameGuard), 13));
    let above = Some((Reason::Hardening, Some(Primitive::NameGuard), 13));
    let guards = [
        (rename("/usr/bin/apt", "/tmp/x"), guarded, guarded),
        (rename("/usr/bin/true", "/usr/bin/apt"), guarded, guarded),
        (Action::Exchange(path("/usr/bin/true"), path("/usr/bin/apt")), guarded, guarded),
        (Action::Link(at("/usr/bin/apt"), path("/tmp/x")), guarded, guarded),
        (rename("/usr/bin/true", "/tmp/x"), None, None),
        (rename("/usr/bin", "/usr/bin2"), None, above),
        (rename("/usr", "/usr2"), None, above),
        (rename("/etc", "/etc2"), None, None),
        (Action::Unlink(path("/usr/bin/apt")), None, None),
    ];
    for (action, under_object, under_ancestors) in guards {
        assert_eq!(denial(&world, &base(), &action), under_object, "{action:?}");
        let mut rules = base();
        rules.options.name_guard = NameGuard::Ancestors;
        assert_eq!(denial(&world, &rules, &action), under_ancestors, "{action:?}");
    }
}

#[test]
fn the_name_guard_keeps_directories_of_which_rules_speak_by_name() {
    let options = Options { name_guard: NameGuard::Object, ..Options::default() };
    let rules = set(vec![block(1, Category::Process, tree("/usr/bin"))], options);
    let (world, _) = start(RootKind::Plain);
    let rename = |from, to| Action::Rename(at(from), path(to));
    assert!(denial(&world, &rules, &rename("/usr/bin", "/usr/bin2")).is_some());
    assert!(denial(&world, &rules, &rename("/usr", "/usr2")).is_some());
    assert!(denial(&world, &rules, &rename("/usr/bin/true", "/tmp/x")).is_some());
    assert!(denial(&world, &rules, &rename("/etc", "/etc2")).is_none());
}

#[test]
fn reads_of_blocked_programs_are_denied_by_option_only() {
    let (world, _) = start(RootKind::Overlay);
    let read = |text| Action::Read(at(text));
    assert_eq!(denial(&world, &base(), &read("/usr/bin/apt")), None);
    let expected = Some((Reason::Rule, Some(Primitive::ExecRead), 13));
    assert_eq!(denial(&world, &contained(), &read("/usr/bin/apt")), expected);
    assert_eq!(denial(&world, &contained(), &read("/usr/bin/true")), None);
}

#[test]
fn mounts_over_what_rules_name_are_denied_at_any_level() {
    let rule = block(1, Category::File, tree("/etc"));
    let rules = set(vec![rule], Options::default());
    let (world, _) =
        image(RootKind::Plain).directory(&path("/etc/ssl")).start(Some(path("/bin/sh")), ROOT);
    let covered = Some((Reason::Hardening, Some(Primitive::CoveringMount), 13));
    for (place, expected) in [("/etc", covered), ("/etc/ssl", covered), ("/mnt", None)] {
        assert_eq!(denial(&world, &rules, &Action::Cover(path(place))), expected, "{place}");
    }
    let share = Action::MountType("virtiofs", path("/mnt"));
    assert_eq!(denial(&world, &rules, &share), Some((Reason::SelfProtection, None, 1)));
}

#[test]
fn a_file_rule_holds_for_every_change_of_a_name() {
    let object = Object::Path(PathObject { path: path("/etc/passwd"), matching: Match::Name });
    let rules = set(vec![block(1, Category::File, object)], Options::default());
    let (world, _) = start(RootKind::Plain);
    let ruled = Some((Reason::Rule, None, 13));
    for action in [
        Action::Read(at("/etc/passwd")),
        Action::Rename(at("/etc/passwd"), path("/etc/x")),
        Action::Rename(at("/usr/bin/true"), path("/etc/passwd")),
        Action::Link(at("/etc/passwd"), path("/etc/x")),
        Action::Unlink(path("/etc/passwd")),
        Action::Chmod(at("/etc/passwd")),
        Action::Obtain(path("/etc/passwd"), Content::data(4)),
    ] {
        assert_eq!(denial(&world, &rules, &action), ruled, "{action:?}");
    }
    assert_eq!(denial(&world, &rules, &Action::Mkdir(path("/etc/x"))), None);
}

#[test]
fn a_worlds_clone_is_another_world() {
    let (world, who) = start(RootKind::Plain);
    let before = world.clone();
    let after = done(&world, who, &Action::Unlink(path("/usr/bin/apt")));
    assert_eq!(world, before);
    assert_ne!(world, after);
}
