// SPDX-License-Identifier: Apache-2.0
//! Searching once more for what could not be held when a rule set came into force.
//!
//! A set whose search met what passes (a lease, an open that hangs, a file that was being written, a
//! deadline) flows in; what a later search finds goes to the owner. It ends when a search meets
//! nothing of the kind, or another set is in force. Never: delays what is in force.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use policy_model::Digest;
use tokio::time::sleep;
use tracing::Instrument as _;

use super::{Command, Registry, Stopped, prepare::Prepared};
use crate::apply::Accepted;

/// Until the first one: twice what a lease lasts once its holder was asked for it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// A search of an image that changes takes a second or a few: under a tenth of this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Sets that are searched for again: one search at a time for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Retries(Arc<Mutex<BTreeSet<[u8; 32]>>>);

// === impl Retries ===

impl Retries {
    /// Whether it is new.
    fn begin(&self, Digest(digest): Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest)
    }

    fn end(&self, Digest(digest): Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
    }
}

// === impl Registry ===

impl Registry {
    /// Begins to search again for a set that is in force, if that may find more.
    pub(super) fn retry_if(&self, passing: bool, set: Accepted) {
        if passing && self.retries.begin(set.digest) {
            let target = set.rules.target.clone();
            let span = tracing::info_span!("retry", %target);
            tokio::spawn(self.clone().retry(set).instrument(span));
        }
    }

    async fn retry(self, set: Accepted) {
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            match self.renew(set.clone()).await {
                Ok(true) => pause = (pause * 2).min(LONGEST_PAUSE),
                Ok(false) | Err(Stopped) => break,
            }
        }
        self.retries.end(set.digest);
    }

    /// Searches once; whether to do so again.
    async fn renew(&self, set: Accepted) -> Result<bool, Stopped> {
        let target = set.rules.target.clone();
        let sites = self.ask(|reply| Command::Sites(target, reply)).await?;
        if sites.is_empty() {
            return Ok(false);
        }
        let prepared = Prepared::new(set, sites).await;
        let passing = prepared.surveys.are_passing();
        let in_force = self.ask(|reply| Command::Renew(Box::new(prepared), reply)).await?;
        if in_force && !passing {
            tracing::info!("what could not be held before is held");
        }
        Ok(in_force && passing)
    }
}
