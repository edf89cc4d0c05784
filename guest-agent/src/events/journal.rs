// SPDX-License-Identifier: Apache-2.0
//! Numbers events and keeps the last ones. Pure.
//!
//! Lost events have numbers too. So what any reader misses, for whatever reason, is a gap between
//! the numbers of what it gets, and is counted in `dropped_before` of the event after the gap:
//! once, and never forgotten.

use std::{collections::VecDeque, sync::Arc};

use policy_model::Event;

/// Events that are kept for watchers who are slow or come back, somewhat more than the ring holds.
/// Each is 3 KiB if every text is as long as it can be, and 12 KiB more if its arguments are 255
/// single letters: 15 MiB at most, 1 MiB as a rule.
const KEPT: usize = 1024;

/// Events that a watcher takes at once.
const PORTION: usize = 64;

/// How much an event tells that none before it did: what tells less makes room for what tells more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Novelty {
    /// There was one of its rule and object.
    Repeat,
    /// The first of its rule and object.
    Object,
    /// The first of its rule.
    Rule,
}

/// The last events.
#[derive(Debug, Default)]
pub struct Journal {
    /// By [`Novelty`], each in the order of numbers.
    kept: [VecDeque<Arc<Event>>; 3],
    last: u64,
}

// === impl Journal ===

impl Journal {
    /// Numbers go on behind this one: those up to it were given out by an agent that is gone.
    pub fn go_on_after(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// The last number that was given out.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Gives numbers to events that will never come.
    pub fn lost(&mut self, count: u64) {
        self.last += count;
    }

    /// Numbers an event and keeps it, unless all that is kept tells more.
    pub fn record(&mut self, mut event: Event, novelty: Novelty) {
        self.last += 1;
        event.sequence = self.last;
        self.kept[novelty as usize].push_back(Arc::new(event));
        if self.kept.iter().map(VecDeque::len).sum::<usize>() > KEPT {
            let dullest = self.kept.iter_mut().find(|events| !events.is_empty());
            dullest.and_then(VecDeque::pop_front);
        }
    }

    /// The next portion of what is kept after this number. A number that was never given out is one
    /// of another boot; everything is given then.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Vec<Arc<Event>> {
        let sequence = if sequence > self.last { 0 } else { sequence };
        let newer = self.kept.iter().flat_map(|events| {
            let start = events.partition_point(|event| event.sequence <= sequence);
            events.range(start..).take(PORTION)
        });
        let mut portion: Vec<_> = newer.cloned().collect();
        portion.sort_unstable_by_key(|event| event.sequence);
        portion.truncate(PORTION);
        portion
    }
}
