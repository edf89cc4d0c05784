// SPDX-License-Identifier: Apache-2.0
//! Records become events, and what was lost is counted.

use std::mem::offset_of;

use guest_bpf::abi;
use policy_model::{Category, Generation, Reason, RuleId, Verdict};
use tokio::sync::oneshot;

use super::*;
use crate::{
    fixtures::{Waiting, accepted, arrival, registry, rules, target},
    registry::{Registry, View},
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

#[test]
fn what_was_lost_is_counted_in_the_event_that_comes_next() {
    let mut journal = Journal::default();
    assert_eq!(journal.record(event()).dropped_before, 0);
    journal.lost(2);
    journal.lost(3);
    let next = journal.record(event());
    assert_eq!((next.sequence, next.dropped_before), (2, 5));
    assert_eq!(journal.record(event()).dropped_before, 0);
}

#[test]
fn a_watcher_that_comes_back_gets_the_rest_and_the_number_of_those_gone() {
    let mut journal = Journal::default();
    for _ in 0..1034 {
        journal.record(event());
    }
    let rest = journal.since(1030);
    assert_eq!(
        rest.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        [1031, 1032, 1033, 1034]
    );
    assert_eq!(rest[0].dropped_before, 0);
    let all = journal.since(4);
    assert_eq!((all.len(), all[0].sequence, all[0].dropped_before), (1024, 11, 6));
    assert_eq!(journal.since(5000).len(), 1024, "a number of an earlier agent");
    assert!(journal.since(1034).is_empty());
}

#[tokio::test]
async fn drops_of_the_kernel_reach_the_next_event() {
    let (registry, kernel) = registry();
    kernel.with(|state| state.counters.events_dropped = 4);
    let (_events, mut collector) = channel(registry);
    collector.count_kernel_drops().await;
    collector.take(&Record::new().0, BootClock::now());
    collector.count_kernel_drops().await;
    collector.take(&Record::new().0, BootClock::now());
    collector.take(b"cut", BootClock::now());
    collector.take(&Record::new().0, BootClock::now());
    let dropped: Vec<_> =
        collector.journal.since(0).iter().map(|event| event.dropped_before).collect();
    assert_eq!(dropped, [4, 0, 1]);
}

#[tokio::test]
async fn subscribers_are_served_while_there_is_no_ring() {
    let (registry, _) = registry();
    let (events, collector) = channel(registry);
    let (ring, ring_later) = oneshot::channel();
    tokio::spawn(collector.run(ring_later));
    assert!(events.subscribe(0).await.unwrap().backlog.is_empty());
    drop(ring);
    assert!(events.subscribe(0).await.unwrap().backlog.is_empty());
}
