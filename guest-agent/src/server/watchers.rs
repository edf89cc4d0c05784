// SPDX-License-Identifier: Apache-2.0
//! Streams to the relay: events as they come, containers as they change.
//!
//! A reader that is slow slows only its own stream; what it misses of events is counted, what it
//! misses of containers it does not need, for the newest state is what it gets. Where nothing more
//! can come, because the agent refuses, a stream is silent and stays: its end would be taken for the
//! end of the agent.

use std::{collections::BTreeMap, sync::Arc};

use kadapter_proto::guest::v1 as pb;
use policy_model::Event;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::messages;
use crate::{containers::ContainerId, events::Events, registry::View};

type Replies<T> = mpsc::Sender<Result<T, Status>>;

/// What a relay knows of the containers: the last message about each.
type Known = BTreeMap<ContainerId, pb::ContainerChange>;

pub(super) async fn events(mut events: Events, mut seen: u64, replies: Replies<pb::Event>) {
    loop {
        let portion = tokio::select! {
            portion = events.after(seen) => portion,
            () = replies.closed() => return,
        };
        let Some(portion) = portion else { return replies.closed().await };
        for event in portion {
            let message = message(&event, seen);
            seen = event.sequence;
            if replies.send(Ok(message)).await.is_err() {
                return;
            }
        }
    }
}

pub(super) async fn containers(
    mut view: watch::Receiver<Arc<View>>,
    replies: Replies<pb::ContainerChange>,
) {
    let mut known = Known::new();
    loop {
        let now = Arc::clone(&view.borrow_and_update());
        for change in changes(&mut known, &now) {
            if replies.send(Ok(change)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return replies.closed().await },
            () = replies.closed() => return,
        }
    }
}

/// What is new since the last look; a container that is gone has exited.
pub(super) fn changes(known: &mut Known, view: &View) -> Vec<pb::ContainerChange> {
    let mut changes = Vec::new();
    let now: Known =
        view.containers.iter().map(|it| (it.id.clone(), messages::change(it))).collect();
    for (id, change) in &now {
        if known.get(id) != Some(change) {
            changes.push(change.clone());
        }
    }
    for (id, last) in known.iter() {
        let over = [pb::ContainerState::Exited, pb::ContainerState::Refused];
        if !now.contains_key(id) && !over.contains(&last.state()) {
            let state = pb::ContainerState::Exited.into();
            changes.push(pb::ContainerChange { state, ..last.clone() });
        }
    }
    *known = now;
    changes
}

fn message(event: &Event, seen: u64) -> pb::Event {
    let dropped_before = dropped_between(seen, event.sequence);
    pb::Event { dropped_before, ..pb::Event::from(event.clone()) }
}

/// Events between two numbers. After a number of another boot, an event is the first that is seen.
fn dropped_between(seen: u64, sequence: u64) -> u64 {
    let seen = if seen < sequence { seen } else { 0 };
    sequence.saturating_sub(seen + 1)
}

#[cfg(test)]
mod tests {
    use super::dropped_between;

    #[test]
    fn gaps_between_numbers_are_losses() {
        assert_eq!(dropped_between(0, 1), 0);
        assert_eq!(dropped_between(7, 8), 0);
        assert_eq!(dropped_between(3, 8), 4);
        assert_eq!(dropped_between(100, 8), 7, "the number of another boot");
    }
}
