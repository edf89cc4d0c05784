// SPDX-License-Identifier: Apache-2.0
//! What belongs together is one change.
//!
//! Batches of changes flow in as their sources see them, batches flow out when nothing has come for
//! a while: a file that is renamed away and written anew, an object that is deleted and made anew,
//! two files that are replaced one after the other. In between neither is true, so no container gets
//! rules of it. It is pure: the time is given, and whoever owns it wakes it when it is due.

use std::{collections::BTreeMap, time::Duration};

use kubesmith::crd::ObjectRef;
use tokio::time::Instant;

use crate::watch::{Batch, Change, Refusal};

/// Without anything lost: who replaces several files renames them microseconds apart. Well below the
/// 20 ms that a change may take on the host (tests/benches/targets.toml).
pub const PAUSE: Duration = Duration::from_millis(5);

/// After something was lost: between the two halves of a save lie some system calls of one process,
/// about 0.1 ms, which the scheduler can stretch to some of its rounds on a busy node (24 ms each at
/// most with eight runnable tasks a CPU). A removal is late by this, which only denies longer.
pub const ABSENCE: Duration = Duration::from_millis(100);

/// So long changes wait for a source that never rests. What is lost waits on.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Changes that wait.
#[derive(Debug, Default)]
pub struct Settle {
    changes: BTreeMap<ObjectRef, Change>,
    /// The newest ones; none if no batch waits.
    refusals: Option<Vec<Refusal>>,
    /// Those of the last batch that went out.
    standing: Vec<Refusal>,
    /// When the first of the waiting batches came, and the last one.
    came: Option<(Instant, Instant)>,
    /// Whether one went out: at the start anything may be in the middle of being replaced.
    began: bool,
    /// Whether something lost waits although patience has ended.
    overdue: bool,
}

// === impl Settle ===

impl Settle {
    /// Takes a batch.
    pub fn take(&mut self, batch: Batch, now: Instant) {
        for change in batch.changes {
            self.changes.insert(change.object(), change);
        }
        self.refusals = Some(batch.refusals);
        let (first, _) = self.came.unwrap_or((now, now));
        self.came = Some((first, now));
    }

    /// When [`Settle::release`] gives something, if nothing comes before; none if nothing waits.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let (first, last) = self.came?;
        Some(Instant::min(last + self.pause(), first + PATIENCE))
    }

    /// Whether the owner should look at nothing else before the next release.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.began || (self.came.is_some() && !self.overdue)
    }

    /// What is true now; none if that cannot be told yet.
    pub fn release(&mut self, now: Instant) -> Option<Batch> {
        let (_, last) = self.came?;
        if self.due()? > now {
            return None;
        }
        let refusals = self.refusals.take().unwrap_or_else(|| self.standing.clone());
        let changes = std::mem::take(&mut self.changes);
        if last + self.pause_with(&changes, &refusals) <= now {
            self.came = None;
            self.overdue = false;
            return Some(self.out(changes.into_values().collect(), refusals));
        }
        let is_loss = |change: &Change| matches!(change, Change::Gone(_));
        let (lost, gained) = changes.into_iter().partition(|(_, change)| is_loss(change));
        self.changes = lost;
        let mut union = refusals.clone();
        union.extend(self.standing.iter().filter(|it| !refusals.contains(it)).cloned());
        self.refusals = Some(refusals);
        self.came = Some((now, last));
        self.overdue = true;
        let gained: BTreeMap<_, _> = gained;
        Some(self.out(gained.into_values().collect(), union))
    }

    fn out(&mut self, changes: Vec<Change>, refusals: Vec<Refusal>) -> Batch {
        self.began = true;
        self.standing.clone_from(&refusals);
        Batch { changes, refusals }
    }

    fn pause(&self) -> Duration {
        self.pause_with(&self.changes, self.refusals.as_ref().unwrap_or(&self.standing))
    }

    /// A refusal that goes away sets containers free, so it is a loss, too.
    fn pause_with(&self, changes: &BTreeMap<ObjectRef, Change>, refusals: &[Refusal]) -> Duration {
        let is_lost = changes.values().any(|change| matches!(change, Change::Gone(_)))
            || self.standing.iter().any(|refusal| !refusals.contains(refusal));
        if is_lost || !self.began { ABSENCE } else { PAUSE }
    }
}

#[cfg(test)]
mod tests;
