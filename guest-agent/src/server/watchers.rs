// SPDX-License-Identifier: Apache-2.0
//! Streams to the relay: events as they come, containers as they change.
//!
//! A reader that is slow slows only its own stream; what it misses of events is counted, what it
//! misses of containers it does not need, for the newest state is what it gets.

use std::{collections::BTreeMap, sync::Arc};

use kadapter_proto::guest::v1 as pb;
use policy_model::Event;
use tokio::sync::{broadcast::error::RecvError, mpsc, watch};
use tonic::Status;

use super::messages;
use crate::{containers::ContainerId, events::Subscription, registry::View};

type Replies<T> = mpsc::Sender<Result<T, Status>>;

/// What a relay knows of the containers: the last message about each.
type Known = BTreeMap<ContainerId, pb::ContainerChange>;

pub(super) async fn events(mut subscription: Subscription, replies: Replies<pb::Event>) {
    for event in subscription.backlog {
        if replies.send(Ok(message(&event, 0))).await.is_err() {
            return;
        }
    }
    let mut missed = 0;
    loop {
        match subscription.live.recv().await {
            Ok(event) => {
                let message = message(&event, std::mem::take(&mut missed));
                if replies.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            // Those were numbered; what was lost before them is counted in them, and lost too.
            Err(RecvError::Lagged(count)) => missed += count,
            Err(RecvError::Closed) => return,
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
            changed = view.changed() => if changed.is_err() { return },
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

fn message(event: &Event, missed: u64) -> pb::Event {
    let mut message = pb::Event::from(event.clone());
    message.dropped_before += missed;
    message
}
