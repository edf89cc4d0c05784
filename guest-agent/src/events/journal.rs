// SPDX-License-Identifier: Apache-2.0
//! Numbers events and keeps the last ones. Pure.

use std::{collections::VecDeque, sync::Arc};

use policy_model::Event;

/// Events that are kept for watchers who come back: 2.5 MiB if every text is as long as it can be.
const KEPT: usize = 1024;

/// The last events.
#[derive(Debug, Default)]
pub struct Journal {
    kept: VecDeque<Arc<Event>>,
    last: u64,
    lost: u64,
}

// === impl Journal ===

impl Journal {
    /// Numbers go on behind this one: those up to it were given out by an agent that is gone.
    pub fn go_on_after(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// Number of the last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Counts events that will never come.
    pub fn lost(&mut self, count: u64) {
        self.lost += count;
    }

    /// Numbers an event and keeps it.
    pub fn record(&mut self, mut event: Event) -> Arc<Event> {
        self.last += 1;
        event.sequence = self.last;
        event.dropped_before = std::mem::take(&mut self.lost);
        let event = Arc::new(event);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Arc::clone(&event));
        event
    }

    /// What is kept after this number. What is no longer kept is counted in the first one. A
    /// number from before a restart of the agent may be one that is still to come; everything is
    /// given then.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Vec<Arc<Event>> {
        let sequence = if sequence > self.last { 0 } else { sequence };
        let mut events: Vec<_> =
            self.kept.iter().filter(|event| event.sequence > sequence).cloned().collect();
        if let Some(first) = events.first_mut() {
            let gone = first.sequence - sequence - 1;
            if gone > 0 {
                Arc::make_mut(first).dropped_before += gone;
            }
        }
        events
    }
}
