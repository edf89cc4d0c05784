// SPDX-License-Identifier: Apache-2.0
//! A node that is full: one relay, three hundred guests.

use std::time::{Duration, Instant};

use host_relay::session::{AT_ONCE, LONGEST};
use kadapter_proto::relay::v1::{Sandbox, SessionState};

use crate::{
    fleet::{Fleet, Footprint},
    objects::policy,
    recording_guest::Record,
};

/// Pods of a large node: Kubernetes advises 110, some run 250.
const GUESTS: usize = 300;

/// The nth rule set, from 1: when it was applied.
fn applied(number: usize) -> impl Fn(&Record) -> Option<Instant> {
    move |record| {
        assert!(record.applied.len() <= number, "a rule set was sent twice");
        (record.applied.len() == number).then_some(record.applied_at?)
    }
}

/// In force in every guest, as the relay sees it.
fn in_force(generation: u64) -> impl Fn(&Sandbox) -> bool {
    move |sandbox| {
        sandbox.state() == SessionState::Connected
            && sandbox.containers.iter().map(|it| it.generation).collect::<Vec<_>>() == [generation]
    }
}

/// Median and maximum of the times since then.
fn spread(since: Instant, mut times: Vec<Instant>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2] - since, times[times.len() - 1] - since)
}

/// Most of the intervals that share a moment.
fn most_at_once(intervals: &[(Instant, Instant)]) -> usize {
    let at = |moment: &Instant| {
        intervals.iter().filter(|(start, end)| start <= moment && moment < end).count()
    };
    intervals.iter().map(|(start, _)| at(start)).max().unwrap_or_default()
}

fn measured(figure: &str) {
    // Shown in every run, see e2e::suites::measured, which this package does not depend on.
    println!("measured: {GUESTS} guests: {figure}");
}

fn shown(footprint: &Footprint) -> String {
    let Footprint { resident_kib, descriptors, threads, ticks } = footprint;
    format!(
        "{resident_kib} KiB, {descriptors} descriptors, {threads} threads, {ticks}0 ms on processors"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_guests_share_a_relay() {
    let started = Instant::now();
    let mut fleet = Fleet::start(GUESTS, &policy("p", &["/bin/apt"]));
    let (half, all) = spread(started, fleet.each(applied(1)).await);
    fleet.shown(in_force(1)).await;
    let at_start = shown(&fleet.footprint());
    measured(&format!("first rules after {half:?} for half, {all:?} for all: {at_start}"));

    let changed = Instant::now();
    fleet.write(&policy("p", &["/bin/vi"]));
    let (half, all) = spread(changed, fleet.each(applied(2)).await);
    fleet.shown(in_force(2)).await;
    let footprint = shown(&fleet.footprint());
    measured(&format!("a change after {half:?} for half, {all:?} for all: {footprint}"));

    // Nothing is sent that is there: the next rule set is the third.
    let restarted = Instant::now();
    fleet.restart_relay();
    fleet.shown(in_force(2)).await;
    measured(&format!("a new relay knows all after {:?}", restarted.elapsed()));
    fleet.write(&policy("p", &["/bin/ed"]));
    fleet.each(applied(3)).await;
    fleet.shown(in_force(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_vanish_at_once_do_not_come_back_in_one_rush() {
    let mut fleet = Fleet::start(GUESTS, &policy("p", &["/bin/apt"]));
    fleet.each(applied(1)).await;
    fleet.shown(in_force(1)).await;
    let before = fleet.footprint();

    for guest in &mut fleet.guests {
        guest.go_away().await;
    }
    fleet.shown(|sandbox| sandbox.state() != SessionState::Connected).await;
    for guest in &mut fleet.guests {
        guest.update(|record| record.greeted.clear());
        guest.come_back();
    }
    let back = Instant::now();
    let greeted = fleet.each(|record| record.greeted.first().copied()).await;
    fleet.shown(in_force(1)).await;
    let (half, all) = spread(back, greeted.iter().map(|(came, _)| *came).collect());
    let at_once = most_at_once(&greeted);
    // A turn that ends leaves its handshake to go on.
    let longest = greeted.iter().map(|(came, done)| *done - *came).max().unwrap();
    let lasting = usize::try_from(longest.as_secs() / LONGEST.as_secs()).unwrap();
    assert!(at_once <= AT_ONCE * (1 + lasting), "{at_once} at once, {longest:?} each");
    measured(&format!(
        "back after {half:?} for half, {all:?} for all, {at_once} handshakes at once"
    ));

    // Nothing was sent that was there.
    fleet.write(&policy("p", &["/bin/vi"]));
    fleet.each(applied(2)).await;
    let after = fleet.footprint();
    assert!(after.descriptors <= before.descriptors, "{before:?} {after:?}");
}
