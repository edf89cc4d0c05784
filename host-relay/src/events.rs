// SPDX-License-Identifier: Apache-2.0
//! Events on their way to operators.
//!
//! Reports flow in from the sessions; JSON lines go to standard output or a file, and the reports
//! themselves to everyone who watches the API. Texts of events come from the guest: they are shown,
//! never obeyed. A slow file slows the sessions' event streams, a slow watcher loses and is told.

mod line;
mod sink;

use std::sync::Arc;

use kubesmith::{EffectiveOption, Provenance};
use policy_model::{Event, RuleId};
use tokio::sync::{broadcast, mpsc};

pub use line::line;
pub use sink::{Sink, SinkError};

/// Reports that a watcher of the API may lag behind.
const WATCHER_QUEUE: usize = 1024;

/// One event, with where its rules and its primitive come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Id of the sandbox; as long as no pause container was seen, its address.
    pub sandbox: String,
    /// What it says.
    pub event: Event,
    /// The rules that decided; a rule that no recent plan has is without provenance.
    pub rules: Vec<(RuleId, Option<Provenance>)>,
    /// Who asks for the option behind its primitive.
    pub options: Vec<EffectiveOption>,
}

/// Where reports go.
#[derive(Clone, Debug)]
pub struct Hub {
    lines: Option<mpsc::Sender<String>>,
    watchers: broadcast::Sender<Arc<Report>>,
}

// === impl Hub ===

impl Hub {
    /// A hub that writes to this sink, if there is one.
    #[must_use]
    pub fn new(lines: Option<mpsc::Sender<String>>) -> Self {
        Self { lines, watchers: broadcast::Sender::new(WATCHER_QUEUE) }
    }

    /// Passes a report on; waits while the sink is full.
    pub async fn report(&self, report: Report) {
        if let Some(lines) = &self.lines {
            // The sink ends only after all sessions.
            let _ = lines.send(line(&report)).await;
        }
        // Without a watcher nobody misses it.
        let _ = self.watchers.send(Arc::new(report));
    }

    /// Reports from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<Report>> {
        self.watchers.subscribe()
    }
}
