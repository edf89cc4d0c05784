// SPDX-License-Identifier: Apache-2.0
//! Decisions of the kernel as events: numbered, kept for a while, and sent to whoever watches.
//!
//! Records of the ring buffer flow in, [`Event`]s flow out. One task owns ring and journal. Nothing
//! is lost silently: what the kernel, the journal or a slow watcher dropped is counted in the
//! `dropped_before` of the event that comes next.

mod convert;
mod journal;
mod source;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use policy_model::Event;
use tokio::{
    io::Interest,
    sync::{broadcast, mpsc, oneshot},
};

pub use convert::{BootClock, InvalidRecord, convert};
pub use journal::Journal;
use source::container_of;
pub use source::{Numbers, Source};

use crate::{readiness, registry::Registry};

/// Events that a watcher may lag behind before some are lost to it.
const WATCHER_QUEUE: usize = 1024;

/// Watchers that wait to be let in: a relay has one.
const SUBSCRIPTIONS: usize = 8;

/// Records that are taken before watchers and subscribers get their turn.
const BATCH: usize = 256;

/// A watcher's share: what was kept for it, then what comes.
#[derive(Debug)]
pub struct Subscription {
    /// Kept events after the number that it named.
    pub backlog: Vec<Arc<Event>>,
    /// Live events.
    pub live: broadcast::Receiver<Arc<Event>>,
}

/// How others ask for events.
#[derive(Clone, Debug)]
pub struct Events {
    subscribe: mpsc::Sender<(u64, oneshot::Sender<Subscription>)>,
}

/// The task that owns the journal.
#[derive(Debug)]
pub struct Collector {
    subscriptions: mpsc::Receiver<(u64, oneshot::Sender<Subscription>)>,
    registry: Registry,
    journal: Journal,
    live: broadcast::Sender<Arc<Event>>,
    kernel_drops: u64,
}

/// A collector, and how to subscribe to it.
#[must_use]
pub fn channel(registry: Registry) -> (Events, Collector) {
    let (subscribe, subscriptions) = mpsc::channel(SUBSCRIPTIONS);
    let (live, _) = broadcast::channel(WATCHER_QUEUE);
    let journal = Journal::default();
    let collector = Collector { subscriptions, registry, journal, live, kernel_drops: 0 };
    (Events { subscribe }, collector)
}

// === impl Events ===

impl Events {
    /// Everything after this number that is still held, then what comes; none if the agent ends.
    pub async fn subscribe(&self, since: u64) -> Option<Subscription> {
        let (reply, subscription) = oneshot::channel();
        self.subscribe.send((since, reply)).await.ok()?;
        subscription.await.ok()
    }
}

// === impl Collector ===

impl Collector {
    /// Collects until the ring fails. It has no ring until the programs are loaded, and serves
    /// subscribers meanwhile.
    ///
    /// # Errors
    /// If the ring cannot be watched.
    pub async fn run(mut self, source: oneshot::Receiver<Source>) -> io::Result<()> {
        let source = tokio::select! {
            source = source => source,
            () = self.serve_subscribers() => return Ok(()),
        };
        let Ok(mut source) = source else {
            self.serve_subscribers().await;
            return Ok(());
        };
        let (last, reported) = source.numbers.load().map_err(io::Error::other)?;
        self.journal.go_on_after(last);
        self.kernel_drops = reported;
        let readable = readiness::of(&source.ring, Interest::READABLE)?;
        // What the agent before left in the ring raises no readiness of its own.
        self.empty(&mut source).await;
        loop {
            tokio::select! {
                ready = readable.readable() => {
                    let mut ready = ready?;
                    // Cleared first: a record that comes while the ring is drained shows again.
                    ready.clear_ready();
                    self.empty(&mut source).await;
                }
                Some(subscription) = self.subscriptions.recv() => self.admit(subscription),
            }
        }
    }

    async fn empty(&mut self, source: &mut Source) {
        self.count_kernel_drops().await;
        while self.drain(source) == BATCH {
            self.admit_waiting();
            tokio::task::yield_now().await;
        }
    }

    async fn serve_subscribers(&mut self) {
        while let Some(subscription) = self.subscriptions.recv().await {
            self.admit(subscription);
        }
    }

    /// Before the batch: what was lost came before what is in the ring now.
    async fn count_kernel_drops(&mut self) {
        match self.registry.counters().await {
            Ok(counters) => {
                let fresh = counters.events_dropped.saturating_sub(self.kernel_drops);
                self.kernel_drops = counters.events_dropped;
                self.journal.lost(fresh);
            }
            Err(error) => tracing::warn!(%error, "drops of the kernel cannot be counted"),
        }
    }

    /// Numbers a batch, notes the numbers, and only then shows it to anybody.
    fn drain(&mut self, source: &mut Source) -> usize {
        let clock = BootClock::now();
        let mut batch = Vec::new();
        let mut taken = 0;
        while taken < BATCH
            && let Some(record) = source.ring.next()
        {
            taken += 1;
            if container_of(&record) != Some(source.self_test) {
                batch.extend(self.take(&record, clock));
            }
        }
        if batch.is_empty() {
            return taken;
        }
        if let Err(error) = source.numbers.store(self.journal.last(), self.kernel_drops) {
            tracing::error!(%error, "numbers of events are not noted: a takeover repeats them");
        }
        for event in batch {
            // Fails if nobody watches.
            let _ = self.live.send(event);
        }
        taken
    }

    fn take(&mut self, record: &[u8], clock: BootClock) -> Option<Arc<Event>> {
        let view = self.registry.view();
        match convert(record, &view.borrow(), clock) {
            Ok(event) => Some(self.journal.record(event)),
            Err(error) => {
                tracing::error!(%error, "a record of the kernel is not understood");
                self.journal.lost(1);
                None
            }
        }
    }

    fn admit_waiting(&mut self) {
        while let Ok(subscription) = self.subscriptions.try_recv() {
            self.admit(subscription);
        }
    }

    fn admit(&self, (since, reply): (u64, oneshot::Sender<Subscription>)) {
        let backlog = self.journal.since(since);
        // Fails if the watcher is gone already.
        let _ = reply.send(Subscription { backlog, live: self.live.subscribe() });
    }
}
