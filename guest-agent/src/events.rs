// SPDX-License-Identifier: Apache-2.0
//! Decisions of the kernel as events: numbered, kept for a while, and given to whoever watches.
//!
//! Records of the ring buffer flow in, [`Event`]s flow out as watchers ask for them. One task owns
//! ring and journal, and waits for no other: while the registry puts a large set into force, the ring
//! is emptied all the same. A burst costs the container that makes it, not the agent: records are taken at
//! a pace, so that the programs drop what is too much before it costs anything; the journal is
//! bounded, and so is what a watcher takes at once. Nothing is lost silently: what the kernel
//! dropped, the journal forgot or a record did not say has numbers, which nobody gets.

mod convert;
mod journal;
mod source;
#[cfg(test)]
mod tests;

use std::{future::pending, io, sync::Arc, time::Duration};

use aya::maps::MapError;
use policy_model::Event;
use tokio::{
    io::Interest,
    sync::{mpsc, oneshot, watch},
    time::{self, Instant},
};

pub use convert::{BootClock, InvalidRecord, convert};
pub use journal::{Journal, Novelty};
pub use source::{Drops, Numbers, Source};
use source::{container_of, novelty_of};

use crate::{
    posture::{Change, Loss, Standing},
    readiness, reason,
    registry::Registry,
};

/// Questions of watchers that wait for an answer: a relay has one.
const QUESTIONS: usize = 8;

/// How long no event must be lost before that counts as over: a flood of denials has its pauses.
const QUIET: Duration = Duration::from_secs(60);

/// Records that are taken before watchers get their turn: a third of the ring.
const BATCH: usize = 256;

/// Rests after a full batch, as a multiple of the time that it took. To take a record is an eighth of
/// what the agent does until a relay has it (40 of 310 us under emulation), so that a burst gets a
/// quarter of a processor.
const REST: u32 = 31;

/// Longest rest: a first event is at most four batches from its turn, two seconds behind a burst.
const LONGEST_REST: Duration = Duration::from_millis(400);

type Question = (u64, oneshot::Sender<Vec<Arc<Event>>>);

/// How others ask for events.
#[derive(Clone, Debug)]
pub struct Events {
    questions: mpsc::Sender<Question>,
    last: watch::Receiver<u64>,
}

/// The task that owns the journal.
#[derive(Debug)]
pub struct Collector {
    questions: mpsc::Receiver<Question>,
    registry: Registry,
    journal: Journal,
    /// Number of the last event that is kept.
    last: watch::Sender<u64>,
    kernel_drops: u64,
    standing: Standing,
    /// When the loss of events is over, if none is lost until then.
    over: Option<Instant>,
}

/// What became of a record.
struct Taken {
    /// None if it is not understood.
    event: Option<Event>,
    novelty: Novelty,
}

/// A collector, and how to ask it.
#[must_use]
pub fn channel(registry: Registry, standing: Standing) -> (Events, Collector) {
    let (ask, questions) = mpsc::channel(QUESTIONS);
    let (last, last_seen) = watch::channel(0);
    let journal = Journal::default();
    let collector =
        Collector { questions, registry, journal, last, kernel_drops: 0, standing, over: None };
    (Events { questions: ask, last: last_seen }, collector)
}

// === impl Events ===

impl Events {
    /// The next events after this number, as soon as there are any; none if the agent ends.
    pub async fn after(&mut self, sequence: u64) -> Option<Vec<Arc<Event>>> {
        loop {
            // Before the question: what comes after the answer shows as a change.
            self.last.borrow_and_update();
            let (reply, answer) = oneshot::channel();
            self.questions.send((sequence, reply)).await.ok()?;
            let events = answer.await.ok()?;
            if !events.is_empty() {
                return Some(events);
            }
            self.last.changed().await.ok()?;
        }
    }
}

// === impl Collector ===

impl Collector {
    /// Collects until nobody can ask for events. It has no ring until the programs are loaded, or
    /// after the ring failed, and answers watchers all the same.
    pub async fn run(mut self, source: oneshot::Receiver<Source>) {
        let source = tokio::select! {
            source = source => source,
            () = self.answer_all() => return,
        };
        if let Ok(source) = source
            && let Err(error) = self.collect(source).await
        {
            let why = reason::of(&error);
            self.standing.change(Change::Loses(Loss::EventsUnread { why }));
        }
        self.answer_all().await;
    }

    /// Collects until the ring fails.
    async fn collect(&mut self, mut source: Source) -> io::Result<()> {
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
                Some(question) = self.questions.recv() => self.answer(question),
                () = moment(self.over) => self.end_loss(source.drops.total()),
            }
        }
    }

    async fn empty(&mut self, source: &mut Source) {
        loop {
            let started = Instant::now();
            let (taken, batch) = self.drain(source);
            self.count_kernel_drops(source.drops.total());
            self.keep(batch, &mut source.numbers);
            if taken < BATCH {
                return;
            }
            self.rest((started.elapsed() * REST).min(LONGEST_REST)).await;
        }
    }

    /// Leaves the processor to others; watchers are answered.
    async fn rest(&mut self, rest: Duration) {
        // Ends by the clock: questions never do while the agent lives.
        let _ = time::timeout(rest, self.answer_all()).await;
    }

    async fn answer_all(&mut self) {
        while let Some(question) = self.questions.recv().await {
            self.answer(question);
        }
    }

    /// After a batch was taken, before it is numbered: what was lost before its last record came is
    /// counted before that one.
    fn count_kernel_drops(&mut self, total: Result<u64, MapError>) {
        match total {
            Ok(total) => {
                let fresh = total.saturating_sub(self.kernel_drops);
                self.kernel_drops = total;
                self.journal.lost(fresh);
                if fresh > 0 {
                    self.standing.change(Change::Loses(Loss::EventsLost));
                    self.over = Some(Instant::now() + QUIET);
                }
            }
            Err(error) => tracing::warn!(%error, "drops of the kernel cannot be counted"),
        }
    }

    /// The quiet has passed, unless something was lost in it that no record came after.
    fn end_loss(&mut self, total: Result<u64, MapError>) {
        self.over = None;
        self.count_kernel_drops(total);
        if self.over.is_none() {
            self.standing.change(Change::Regains(Loss::EventsLost));
        }
    }

    fn drain(&mut self, source: &mut Source) -> (usize, Vec<Taken>) {
        let clock = BootClock::now();
        let mut batch = Vec::new();
        let mut taken = 0;
        while taken < BATCH
            && let Some(record) = source.ring.next()
        {
            taken += 1;
            if container_of(&record) != Some(source.self_test) {
                batch.push(self.take(&record, clock));
            }
        }
        (taken, batch)
    }

    fn take(&self, record: &[u8], clock: BootClock) -> Taken {
        let view = self.registry.view();
        let event = convert(record, &view.borrow(), clock).inspect_err(|error| {
            tracing::error!(%error, "a record of the kernel is not understood");
        });
        Taken { event: event.ok(), novelty: novelty_of(record) }
    }

    /// Numbers a batch, notes the numbers, and only then shows it to anybody.
    fn keep(&mut self, batch: Vec<Taken>, numbers: &mut Numbers) {
        if batch.is_empty() {
            return;
        }
        self.number(batch);
        if let Err(error) = numbers.store(self.journal.last(), self.kernel_drops) {
            tracing::error!(%error, "numbers of events are not noted: a takeover repeats them");
        }
        self.last.send_replace(self.journal.last());
    }

    fn number(&mut self, batch: Vec<Taken>) {
        for Taken { event, novelty } in batch {
            match event {
                Some(event) => self.journal.record(event, novelty),
                None => self.journal.lost(1),
            }
        }
    }

    fn answer(&self, (since, reply): Question) {
        // Fails if the watcher is gone already.
        let _ = reply.send(self.journal.since(since));
    }
}

/// Returns then, or never.
async fn moment(when: Option<Instant>) {
    match when {
        Some(when) => time::sleep_until(when).await,
        None => pending().await,
    }
}
