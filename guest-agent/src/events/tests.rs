// SPDX-License-Identifier: Apache-2.0
//! Records become events, and what was lost is counted.

use std::mem::offset_of;

use guest_bpf::abi;
use policy_model::{Category, Generation, Primitive, Reason, RuleId, Verdict};
use tokio::sync::oneshot;

use super::*;
use crate::{
    fixtures::{Waiting, accepted, arrival, registry, rules, target},
    posture::Posture,
    registry::{self, Registry, View},
};

/// A record as the programs write it.
struct Record(Vec<u8>);

impl Record {
    fn new() -> Self {
        let mut record = Self(vec![0; size_of::<abi::Event>()]);
        record.put(offset_of!(abi::Event, hook), &[1]);
        record.put(offset_of!(abi::Event, verdict), &[abi::VERDICT_BLOCK]);
        record.put(offset_of!(abi::Event, reason), &[abi::REASON_RULE]);
        record.put(offset_of!(abi::Event, category), &[1]);
        record
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    fn convert(&self, view: &View) -> Result<Event, InvalidRecord> {
        convert(&self.0, view, BootClock::now())
    }
}

async fn registered() -> (Registry, u32, Waiting) {
    let (registry, _) = registry();
    registry.apply(accepted(rules(3))).await.unwrap();
    let process = Waiting::spawn();
    let verdict = registry.announce(arrival("c1", &process)).await.unwrap();
    let number = verdict.await.unwrap().unwrap().number;
    (registry, number, process)
}

#[tokio::test]
async fn the_guards_record_names_the_container_by_its_cgroup() {
    let (registry, _, _process) = registered().await;
    let view = registry.view().borrow().clone();
    let named = |cgroup: &[u8]| {
        let record = Record::new().with(offset_of!(abi::Event, cgroup), cgroup);
        let event = record.convert(&view).unwrap();
        (event.container_id, event.target.pod)
    };
    let known = ("c1".to_owned(), target().pod);
    assert_eq!(named(b"c1"), known);
    assert_eq!(named(b"cri-containerd-c1.scope"), known);
    assert_eq!(named(b"crio-4f2a.scope"), ("4f2a".into(), String::new()));
    for other in [&b""[..], b"sshd.service", b"kubepods.slice", b"../c1"] {
        assert_eq!(named(other), Default::default());
    }
}

#[tokio::test]
async fn a_record_names_container_rules_and_texts() {
    let (registry, number, _process) = registered().await;
    let record = Record::new()
        .with(offset_of!(abi::Event, container), &number.to_ne_bytes())
        .with(offset_of!(abi::Event, generation), &3u64.to_ne_bytes())
        .with(offset_of!(abi::Event, rules), &7u64.to_ne_bytes())
        .with(offset_of!(abi::Event, rules_len), &[1])
        .with(offset_of!(abi::Event, total_rules), &1u32.to_ne_bytes())
        .with(offset_of!(abi::Event, errno_value), &13u32.to_ne_bytes())
        .with(offset_of!(abi::Event, path), b"/usr/bin/apt\0left over")
        .with(offset_of!(abi::Event, argv), b"apt\0\0update\0")
        .with(offset_of!(abi::Event, argv_len), &12u16.to_ne_bytes());
    let event = record.convert(&registry.view().borrow()).unwrap();
    assert_eq!((event.container_id.as_str(), &event.target), ("c1", &target()));
    assert_eq!((event.generation, event.rules), (Generation(3), vec![RuleId(7)]));
    assert_eq!((event.hook.as_str(), event.verdict), ("bprm_check_security", Verdict::Block));
    assert_eq!((event.reason, event.category), (Reason::Rule, Category::Process));
    assert_eq!((event.errno, event.path.as_str()), (13, "/usr/bin/apt"));
    assert_eq!(event.argv, ["apt", "", "update"]);
    assert!(!event.truncated);
}

#[test]
fn the_guard_decides_for_nobody() {
    let guard = Record::new().with(offset_of!(abi::Event, reason), &[abi::REASON_GUARD]);
    let event = guard.convert(&View::default()).unwrap();
    assert!(event.container_id.is_empty() && event.target.namespace.is_empty());
    assert_eq!(event.reason, Reason::Guard);
}

#[test]
fn more_rules_than_the_record_holds_are_a_truncation() {
    let record = Record::new()
        .with(offset_of!(abi::Event, rules_len), &[200])
        .with(offset_of!(abi::Event, total_rules), &20u32.to_ne_bytes());
    let event = record.convert(&View::default()).unwrap();
    assert_eq!((event.rules.len(), event.truncated), (abi::MAX_RULES, true));
}

#[test]
fn text_that_is_no_utf8_is_replaced() {
    let record = Record::new().with(offset_of!(abi::Event, comm), &[b'a', 0xff, 0]);
    assert_eq!(record.convert(&View::default()).unwrap().comm, "a\u{fffd}");
}

#[test]
fn records_of_another_build_are_refused() {
    let cut = Record(vec![0; 8]);
    assert_eq!(cut.convert(&View::default()), Err(InvalidRecord::Size(8)));
    let hook = Record::new().with(offset_of!(abi::Event, hook), &[200]);
    let error = hook.convert(&View::default()).unwrap_err();
    assert_eq!(error, InvalidRecord::Unknown { field: "hook", value: 200 });
}

fn event() -> Event {
    Record::new().convert(&View::default()).unwrap()
}

fn numbers(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

/// All that a journal keeps after a number, portion by portion.
fn all_since(journal: &Journal, mut sequence: u64) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let portion = journal.since(sequence);
        let Some(last) = portion.last() else { return all };
        sequence = last.sequence;
        all.extend(numbers(&portion));
    }
}

#[test]
fn what_was_lost_has_numbers_that_nobody_gets() {
    let mut journal = Journal::default();
    journal.record(event(), Novelty::Repeat);
    journal.lost(2);
    journal.lost(3);
    journal.record(event(), Novelty::Repeat);
    journal.record(event(), Novelty::Repeat);
    assert_eq!(numbers(&journal.since(0)), [1, 7, 8]);
    assert_eq!(journal.last(), 8);
}

#[test]
fn a_watcher_that_comes_back_gets_the_rest_in_portions() {
    let mut journal = Journal::default();
    for _ in 0..1034 {
        journal.record(event(), Novelty::Repeat);
    }
    assert_eq!(numbers(&journal.since(1030)), [1031, 1032, 1033, 1034]);
    assert_eq!(numbers(&journal.since(4)), (11..75).collect::<Vec<_>>());
    assert_eq!(all_since(&journal, 0), (11..=1034).collect::<Vec<_>>());
    assert_eq!(journal.since(5000).first().unwrap().sequence, 11, "a number of another boot");
    assert!(journal.since(1034).is_empty());
}

#[test]
fn what_tells_more_is_kept_while_what_tells_less_makes_room() {
    let mut journal = Journal::default();
    let mut record = |novelty, count| {
        for _ in 0..count {
            journal.record(event(), novelty);
        }
        all_since(&journal, 0)
    };
    record(Novelty::Rule, 1);
    record(Novelty::Repeat, 1500);
    record(Novelty::Object, 1);
    let kept = record(Novelty::Repeat, 1500);
    assert_eq!((kept.len(), &kept[..3]), (1024, &[1, 1502, 1981][..]));
    assert!(kept.is_sorted_by(|one, next| one < next), "{kept:?}");
    let kept = record(Novelty::Object, 1500);
    assert_eq!((kept.len(), &kept[..2]), (1024, &[1, 3480][..]));
    let kept = record(Novelty::Rule, 1024);
    assert_eq!((kept.len(), kept[0]), (1024, 4503));
    assert_eq!(record(Novelty::Repeat, 1), kept);
}

#[test]
fn drops_of_the_kernel_reach_the_next_event() {
    // Of an owner that never answers, as one that is busy.
    let (registry, _inbox) = registry::channel();
    let (_events, mut collector) = channel(registry, Standing::new().0);
    let take = |collector: &Collector, record: &[u8]| collector.take(record, BootClock::now());
    let good = Record::new().0;
    let batch = vec![take(&collector, &good)];
    collector.count_kernel_drops(Ok(4));
    collector.number(batch);
    // Counted once.
    let batch = vec![take(&collector, &good), take(&collector, b"cut"), take(&collector, &good)];
    collector.count_kernel_drops(Ok(4));
    collector.number(batch);
    assert_eq!(numbers(&collector.journal.since(0)), [5, 6, 8]);
}

#[test]
fn a_record_says_how_new_it_is() {
    let novelty =
        |value| novelty_of(&Record::new().with(offset_of!(abi::Event, novelty), &[value]).0);
    assert_eq!(novelty(abi::REPEAT), Novelty::Repeat);
    assert_eq!(novelty(abi::NEW_OBJECT), Novelty::Object);
    assert_eq!(novelty(abi::NEW_RULE), Novelty::Rule);
    assert_eq!((novelty(7), novelty_of(b"cut")), (Novelty::Repeat, Novelty::Repeat));
}

#[test]
fn lost_events_degrade_the_agent_until_none_was_lost_for_a_while() {
    let (registry, _inbox) = registry::channel();
    let (standing, posture) = Standing::new();
    standing.change(Change::Enforces([].into()));
    let (_events, mut collector) = channel(registry, standing);
    let degraded = Posture::Degraded([Loss::EventsLost].into());
    collector.count_kernel_drops(Ok(0));
    assert_eq!(*posture.borrow(), Posture::Enforcing);
    collector.count_kernel_drops(Ok(4));
    assert_eq!(*posture.borrow(), degraded);
    collector.end_loss(Ok(5));
    assert_eq!(*posture.borrow(), degraded, "one was lost in the meantime");
    collector.end_loss(Ok(5));
    assert_eq!((&*posture.borrow(), collector.over), (&Posture::Enforcing, None));
}

#[tokio::test]
async fn watchers_are_answered_while_there_is_no_ring() {
    let (registry, _) = registry();
    let (events, collector) = channel(registry, Standing::new().0);
    let (ring, ring_later) = oneshot::channel();
    tokio::spawn(collector.run(ring_later));
    let answer = async || {
        let (reply, answer) = oneshot::channel();
        events.questions.send((0, reply)).await.unwrap();
        answer.await.unwrap()
    };
    assert!(answer().await.is_empty());
    drop(ring);
    assert!(answer().await.is_empty());
}

#[tokio::test]
async fn a_watcher_waits_until_there_is_something() {
    let (registry, _) = registry();
    let (mut events, mut collector) = channel(registry, Standing::new().0);
    let watcher = tokio::spawn(async move { events.after(0).await });
    let question = collector.questions.recv().await.unwrap();
    collector.answer(question);
    collector.number(vec![Taken { event: Some(event()), novelty: Novelty::Rule }]);
    collector.last.send_replace(collector.journal.last());
    let question = collector.questions.recv().await.unwrap();
    collector.answer(question);
    assert_eq!(numbers(&watcher.await.unwrap().unwrap()), [1]);
}

/// The programs number primitives; the agent reads the numbers by the order of `Primitive::ALL`.
#[test]
fn primitives_have_the_numbers_of_the_header() {
    let header = include_str!("../../bpf/lib/abi.h");
    for (number, primitive) in (1..).zip(Primitive::ALL) {
        let name = primitive.name().to_uppercase().replace('-', "_");
        assert!(header.contains(&format!("ABI_{name} = {number},")), "{name}");
        let record = Record::new().with(offset_of!(abi::Event, primitive), &[number]);
        assert_eq!(record.convert(&View::default()).unwrap().primitive, Some(*primitive));
    }
}

#[test]
fn a_script_that_was_called_by_a_relative_name_is_shown_with_the_directory() {
    let shown = |hook: &[u8], path: &[u8]| {
        let record = Record::new()
            .with(offset_of!(abi::Event, hook), hook)
            .with(offset_of!(abi::Event, cwd), b"/srv\0")
            .with(offset_of!(abi::Event, path), path);
        record.convert(&View::default()).unwrap().path
    };
    let late = abi::HOOKS.iter().position(|name| *name == "bprm_committed_creds").unwrap();
    let late = [u8::try_from(late).unwrap()];
    assert_eq!(shown(&late, b"./tool\0"), "/srv/tool");
    assert_eq!(shown(&late, b"bin/tool\0"), "/srv/bin/tool");
    assert_eq!(shown(&late, b"/opt/tool\0"), "/opt/tool");
    assert_eq!(shown(&[1], b"pipe:[7]\0"), "pipe:[7]");
}
