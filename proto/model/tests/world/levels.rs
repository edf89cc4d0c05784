// SPDX-License-Identifier: Apache-2.0
//! Which ways each level of hardening leaves, on each kind of root: the contract's table.

use policy_model::{
    RuleSet,
    world::{
        Action, At, Attempt, ProcessId, RootKind,
        ways::{BASIC, SUBTLE, TARGET, Way},
    },
};

use crate::play::{End, base, contained, contained_read, literal, path, play, play_under, sealed};

fn left(ways: &[Way], kind: RootKind, rules: &RuleSet) -> Vec<&'static str> {
    let ran = ways.iter().filter(|way| play_under(way, kind, rules) == End::Ran);
    ran.map(|way| way.id).collect()
}

/// Ways that the kind of root itself rules out.
fn impossible(kind: RootKind) -> Vec<&'static str> {
    let free = |way: &&Way| play(way, way.world(kind), |_, _, _| false) != End::Ran;
    Way::all().filter(free).map(|way| way.id).collect()
}

#[test]
fn without_rules_every_way_that_is_possible_runs_the_target() {
    assert_eq!(impossible(RootKind::Plain), [""; 0]);
    // Lower directories cannot be renamed, and an overlay is not exported.
    assert_eq!(impossible(RootKind::Overlay), ["B05", "B06", "B08", "B22"]);
    // The share has no unnamed files.
    assert_eq!(impossible(RootKind::VirtioFs), ["B18"]);
}

#[test]
fn literal_leaves_what_gets_the_program_another_name() {
    let held = ["B04", "B09", "B10", "B15", "B20", "B21", "B22", "B32", "B33"];
    for kind in RootKind::ALL {
        let impossible = impossible(kind);
        let expected: Vec<_> = BASIC
            .iter()
            .map(|way| way.id)
            .filter(|id| !held.contains(id) && !impossible.contains(id))
            .collect();
        assert_eq!(left(BASIC, kind, &literal()), expected, "{kind:?}");
    }
}

#[test]
fn base_leaves_copies_and_foreign_bytes() {
    for kind in RootKind::ALL {
        let mut expected = vec![
            "B02", "B13", "B17", "B18", "B23", "B24", "B25", "B28", "B29", "B30", "B34", "B35",
            "B36", "B37",
        ];
        expected.retain(|id| !impossible(kind).contains(id));
        assert_eq!(left(BASIC, kind, &base()), expected, "{kind:?}");
    }
}

#[test]
fn contained_leaves_only_foreign_bytes() {
    for kind in RootKind::ALL {
        assert_eq!(left(BASIC, kind, &contained()), ["B28", "B29", "B37"], "{kind:?}");
        let subtle = left(SUBTLE, kind, &contained());
        assert_eq!(subtle, ["S5", "S6", "S7", "S8", "S9", "S10", "S18"], "{kind:?}");
    }
}

/// Where somebody must read the target, reading stays possible and writing then executing does not.
#[test]
fn contained_with_readers_leaves_memory_and_interpreters() {
    for kind in RootKind::ALL {
        let found = left(BASIC, kind, &contained_read());
        assert_eq!(found, ["B30", "B34", "B35", "B36", "B37"], "{kind:?}");
        let found = left(SUBTLE, kind, &contained_read());
        assert_eq!(found, ["S5", "S6", "S7", "S8"], "{kind:?}");
    }
}

#[test]
fn sealed_leaves_foreign_text_for_an_interpreter() {
    for kind in RootKind::ALL {
        assert_eq!(left(BASIC, kind, &sealed()), ["B37"], "{kind:?}");
        assert_eq!(left(SUBTLE, kind, &sealed()), [""; 0], "{kind:?}");
    }
}

/// mmap_file shows an overlay's own inode. Where that is not held (the overlay was mounted later, or
/// its number changed when the inode of a file with two lower links was copied up and evicted), the
/// file behind it is, which mmap_backing_file shows.
#[test]
fn a_file_behind_an_overlay_is_seen_when_it_is_mapped() {
    let aliased = SUBTLE.iter().find(|way| way.id == "S16").unwrap();
    let target = || At::Path(path(TARGET));
    let load = [Action::Chmod(target()), Action::Evict, Action::Load(target())];
    for rules in [base(), contained_read(), contained()] {
        let mut world = aliased.world(RootKind::Overlay).apply(&rules);
        let mut denied = false;
        for action in &load {
            match world.attempt(&rules, ProcessId::FIRST, action).unwrap() {
                Attempt::Done { after, .. } => world = after,
                Attempt::Denied(_) => denied = true,
                Attempt::Impossible(obstacle) => panic!("{obstacle}"),
            }
        }
        assert!(denied, "{:?}", rules.options);
    }
}

/// A denial counts only where the same steps run without rules.
#[test]
fn what_is_impossible_is_not_counted_as_denied() {
    for kind in RootKind::ALL {
        for way in Way::all() {
            if impossible(kind).contains(&way.id) {
                let end = play_under(way, kind, &base());
                assert!(matches!(end, End::Impossible(_) | End::Denied(_)), "{} {end:?}", way.id);
            }
        }
    }
}
