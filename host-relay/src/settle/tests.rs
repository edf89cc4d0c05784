// SPDX-License-Identifier: Apache-2.0
//! Tests of what is one change, with a clock that stands still.

use kubesmith::crd;
use serde_json::json;

use super::*;
use crate::watch::{Position, Scope};

const TICK: Duration = Duration::from_millis(1);

fn put(name: &str, version: &str) -> Batch {
    let metadata = json!({"name": name, "labels": {"v": version}});
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
    let change = Change::Put { object: crd::decode(object).unwrap(), origin: "f".into() };
    Batch { changes: vec![change], refusals: Vec::new() }
}

fn gone(name: &str) -> Batch {
    let change = Change::Gone(put(name, "").changes[0].object());
    Batch { changes: vec![change], refusals: Vec::new() }
}

fn refused(message: &str) -> Batch {
    let (origin, position, message) = ("f".into(), Position::default(), message.into());
    let refusal = Refusal { origin, position, object: None, message, scope: Scope::Everything };
    Batch { changes: Vec::new(), refusals: vec![refusal] }
}

/// One that has begun, with an empty first batch, and the time of its release.
fn begun() -> (Settle, Instant) {
    let mut settle = Settle::default();
    let start = Instant::now();
    settle.take(Batch::default(), start);
    assert_eq!(settle.release(start + ABSENCE - TICK), None, "the start may be within a save");
    assert_eq!(settle.release(start + ABSENCE), Some(Batch::default()));
    (settle, start + ABSENCE)
}

#[test]
fn what_goes_and_comes_back_within_one_save_never_went() {
    let (mut settle, start) = begun();
    settle.take(gone("p"), start);
    assert_eq!(settle.release(start + ABSENCE - TICK), None);
    let back = start + ABSENCE - TICK;
    settle.take(put("p", "2"), back);
    assert_eq!(settle.due(), Some(back + PAUSE));
    assert_eq!(settle.release(back + PAUSE), Some(put("p", "2")));
    assert_eq!(settle.due(), None);
    assert!(!settle.holds());
}

#[test]
fn what_stays_away_is_gone() {
    let (mut settle, start) = begun();
    settle.take(gone("p"), start);
    assert!(settle.holds());
    assert_eq!(settle.release(start + ABSENCE), Some(gone("p")));
}

#[test]
fn what_is_replaced_one_after_the_other_is_one_change() {
    let (mut settle, start) = begun();
    settle.take(put("p", "2"), start);
    settle.take(put("q", "2"), start + PAUSE - TICK);
    let batch = settle.release(start + 2 * PAUSE - TICK).unwrap();
    assert_eq!(batch.changes.len(), 2);
}

#[test]
fn a_refusal_that_goes_sets_nobody_free_within_one_save() {
    let (mut settle, start) = begun();
    settle.take(refused("m"), start);
    assert_eq!(settle.release(start + PAUSE), Some(refused("m")));
    let start = start + PAUSE;
    settle.take(Batch::default(), start);
    assert_eq!(settle.release(start + ABSENCE - TICK), None);
    settle.take(refused("m"), start + ABSENCE - TICK);
    assert_eq!(settle.release(start + ABSENCE - TICK + PAUSE), Some(refused("m")));
}

#[test]
fn a_source_without_rest_delays_losses_only() {
    let (mut settle, start) = begun();
    settle.take(refused("m"), start);
    settle.release(start + PAUSE).unwrap();
    let (mut settle, mut now, mut out) = (settle, start + PAUSE, Vec::new());
    let end = now + 3 * PATIENCE;
    settle.take(gone("p"), now);
    while now < end {
        settle.take(put("q", "1"), now);
        out.extend(settle.release(now));
        now += ABSENCE / 2;
    }
    assert!((2..=3).contains(&out.len()), "{}", out.len());
    for batch in &out {
        assert_eq!(
            (&batch.changes, &batch.refusals),
            (&put("q", "1").changes, &refused("m").refusals)
        );
    }
    assert!(!settle.holds(), "others do not wait for it");
    let last = settle.release(now + ABSENCE).unwrap();
    assert_eq!(last.changes.len(), 2);
    assert_eq!(last.refusals, []);
}
