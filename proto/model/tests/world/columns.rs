// SPDX-License-Identifier: Apache-2.0
//! The model's events against measured engines: each column of the measured table as a predicate
//! on events, and as a rule set where the contract's vocabulary has one.

use policy_model::{
    Category, Match, Options, RuleSet, Verdict,
    eval::judge,
    hook::{Event, File, Map, Open},
    world::{
        ProcessId, RootKind, World,
        ways::{BASIC, SUBTLE, Way},
    },
};

use crate::play::{End, blocks, held, play, play_in, set};

const MEASURED: &str = include_str!("measured.txt");

/// What an engine of a column denies.
type Engine = fn(&Event) -> bool;

struct Column {
    name: &'static str,
    denies: Engine,
    /// Whether its tags are on files of equal content too.
    content: bool,
}

fn is_held(file: &File) -> bool {
    !file.identities.is_empty()
}

fn mapped(event: &Event, fact: fn(&File) -> bool) -> bool {
    matches!(event, Event::Map(Map { file: Some(file), behind: false, .. }) if fact(file))
}

fn i1(event: &Event) -> bool {
    matches!(event, Event::Exec(file, _) if is_held(file))
}

/// Its tags are on an overlay's own inodes, not on those behind them.
fn i2(event: &Event) -> bool {
    i1(event) || mapped(event, |file| is_held(file) && !file.internal)
}

fn i3(event: &Event) -> bool {
    i2(event) || matches!(event, Event::Open(file, _) if is_held(file))
}

fn d1(event: &Event) -> bool {
    i2(event)
        || matches!(event, Event::Exec(file, _) if file.tainted || file.unlinked)
        || matches!(event, Event::Map(Map { file: Some(file), protect: false, behind: false, .. }) if file.tainted)
}

fn d2(event: &Event) -> bool {
    d1(event) || i3(event) || matches!(event, Event::Map(Map { file: None, .. }))
}

fn h(event: &Event) -> bool {
    let exec_open = Open { exec: true, write: false, memory: false };
    d1(event)
        || mapped(event, |file| is_held(file) || file.tainted)
        || matches!(event, Event::Open(file, how) if *how == exec_open && (is_held(file) || file.tainted))
}

fn h_plus(event: &Event) -> bool {
    h(event)
        || match event {
            Event::Map(map) => {
                map.file.is_none() || map.private && (map.writable || map.protect && map.modified)
            }
            Event::Open(_, open) => open.memory && open.write,
            Event::PtraceAccess { .. } | Event::PtraceTraceme => true,
            _ => false,
        }
}

fn i2x(event: &Event) -> bool {
    i2(event) || matches!(event, Event::Open(file, open) if open.exec && is_held(file))
}

fn d1x(event: &Event) -> bool {
    d1(event) || i2x(event)
}

const COLUMNS: [Column; 7] = [
    Column { name: "I1", denies: i1, content: false },
    Column { name: "I2", denies: i2, content: false },
    Column { name: "I3", denies: i3, content: false },
    Column { name: "D1", denies: d1, content: false },
    Column { name: "D2", denies: d2, content: false },
    Column { name: "H", denies: h, content: true },
    Column { name: "H+", denies: h_plus, content: true },
];

fn tagged(way: &Way, kind: RootKind, rules: &RuleSet, content: bool) -> World {
    let world = way.world(kind);
    if content { world.apply(rules) } else { world.apply_without_content(rules) }
}

/// Whether the target ran under an engine that also has the user's rule by name.
fn runs(way: &Way, kind: RootKind, (denies, content): (Engine, bool)) -> bool {
    let rules = held(Options::default());
    let world = tagged(way, kind, &rules, content);
    play(way, world, |_: &World, _: ProcessId, event| denies(event)) == End::Ran
}

/// Rows of the measured table, and in each whether the target ran, by column.
fn measured() -> Vec<(&'static str, Vec<bool>)> {
    let rows = MEASURED.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.map(|line| {
        let mut words = line.split_whitespace();
        let id = words.next().unwrap();
        (id, words.map(|word| word == "x").collect::<Vec<_>>())
    });
    rows.collect()
}

#[test]
fn every_measured_cell_is_what_the_model_says() {
    let measured = measured();
    assert_eq!(measured.len(), BASIC.len());
    for (way, (id, cells)) in BASIC.iter().zip(&measured) {
        assert_eq!((way.id, cells.len()), (*id, COLUMNS.len()));
        for (column, ran) in COLUMNS.iter().zip(cells) {
            let model = runs(way, RootKind::Plain, (column.denies, column.content));
            assert_eq!(model, *ran, "{} {} under {}", way.id, way.name, column.name);
        }
    }
}

/// Columns that are a rule set, and the rows in which the rule set closes what the column left: an
/// identity always covers opens for execution (P3).
#[test]
fn rule_sets_reproduce_the_columns_that_they_can_express() {
    let identity = blocks(1, Category::Process, Match::Identity);
    let all = [identity.clone(), blocks(3, Category::File, Match::Identity)].concat();
    let taint = Options { taint: true, no_unlinked_exec: true, ..Options::default() };
    let anonymous = Options { no_anonymous_exec: true, ..taint };
    let plus = Options { no_execmod: true, no_poke: true, ..anonymous };
    let columns: [(usize, RuleSet, &[&str]); 5] = [
        (2, set(all.clone(), Options::default()), &[]),
        (3, set(identity, taint), &["B14"]),
        (4, set(all, anonymous), &[]),
        (5, held(taint), &[]),
        (6, held(plus), &[]),
    ];
    for (column, rules, closed) in columns {
        let name = COLUMNS[column].name;
        for (way, (id, cells)) in BASIC.iter().zip(measured()) {
            let world = tagged(way, RootKind::Plain, &rules, COLUMNS[column].content);
            let ran = play_in(way, world, &rules) == End::Ran;
            let expected = cells[column] && !closed.contains(&id);
            assert_eq!(ran, expected, "{id} {} under {name} as a rule set", way.name);
        }
    }
}

/// The rows beyond the 37, on the roots where they were run: what still ran the target there.
#[test]
fn subtle_ways_run_where_they_were_measured_to_run() {
    let (plain, overlay) = (RootKind::Plain, RootKind::Overlay);
    // Under H, S2 and S13 were stopped in a hook that not every kernel has (mmap_backing_file).
    let runs_under: [(&str, RootKind, &[&str]); 18] = [
        ("S1", plain, &["I1"]),
        ("S1", overlay, &["I1", "I2", "I2x"]),
        ("S2", plain, &["I2", "I2x", "D1x"]),
        ("S3", plain, &["I1"]),
        ("S4", plain, &[]),
        ("S5", plain, &["D1x", "D2", "H"]),
        ("S6", plain, &["D1x", "D2", "H"]),
        ("S7", plain, &["D1x", "D2", "H"]),
        ("S8", plain, &["D2", "H"]),
        ("S9", plain, &["D1x"]),
        ("S10", plain, &[]),
        ("S11", plain, &[]),
        ("S12", plain, &["I2"]),
        ("S13", plain, &["I2x"]),
        ("S14", plain, &[]),
        ("S16", overlay, &["I2"]),
        ("S17", overlay, &["I2"]),
        ("S18", overlay, &[]),
    ];
    for (id, kind, expected) in runs_under {
        let way = SUBTLE.iter().find(|way| way.id == id).unwrap();
        for (name, denies, content) in engines_of(id) {
            let expected = expected.contains(&name);
            assert_eq!(runs(way, kind, (denies, content)), expected, "{id} {kind:?} under {name}");
        }
    }
}

/// The engines under which a row was run.
fn engines_of(id: &str) -> Vec<(&'static str, Engine, bool)> {
    let all: [(&str, Engine, bool, &[&str]); 8] = [
        ("I1", i1, false, &["S1", "S3", "S4", "S11", "S14"]),
        ("I2", i2, false, &["S1", "S2", "S12", "S16", "S17"]),
        ("I2x", i2x, false, &["S1", "S2", "S3", "S12", "S13"]),
        ("D1x", d1x, false, &["S2", "S5", "S6", "S7", "S9", "S12"]),
        ("D1", d1, false, &["S10"]),
        ("D2", d2, false, &["S5", "S6", "S7", "S8"]),
        (
            "H",
            h,
            true,
            &[
                "S1", "S3", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S14", "S16", "S17",
                "S18",
            ],
        ),
        ("H+", h_plus, true, &["S5", "S6", "S7", "S8"]),
    ];
    let run = all.into_iter().filter(|(_, _, _, rows)| rows.contains(&id));
    run.map(|(name, denies, content, _)| (name, denies, content)).collect()
}

/// The judge of rule sets denies no event that nothing speaks of.
#[test]
fn an_empty_set_permits_every_event_of_every_way() {
    let rules = set(Vec::new(), Options::default());
    for way in Way::all() {
        let world = way.world(RootKind::Plain).apply(&rules);
        let end = play(way, world, |world, who, event| {
            let judgement = judge(&rules, world.actor(who), event).unwrap();
            judgement.decision.verdict != Verdict::Allow || judgement.decision.reason.is_some()
        });
        assert_eq!(end, End::Ran, "{}", way.id);
    }
}
