// SPDX-License-Identifier: Apache-2.0
//! Events of a stretch, counted against the losses that they report.

use anyhow::{Context as _, Result, ensure};
use e2e::node::Node;
use serde_json::Value;

use crate::steps::event_on;

/// What a relay got of a stretch of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    pub(super) dropped: u64,
}

impl Tally {
    /// Between two events of a relay, the second one included.
    pub(super) fn between(node: &Node, first: u64, last: u64) -> Result<Self> {
        let mut tally = Self { delivered: 0, dropped: 0 };
        let mut before = None;
        for line in node.events().all() {
            let event: Value = serde_json::from_str(&line).context("an event is no JSON")?;
            let (number, dropped) = (number(&event)?, field(&event, "droppedBefore")?);
            let gap = number - before.replace(number).unwrap_or_default() - 1;
            ensure!(dropped == gap, "{dropped} dropped in a gap of {gap}: {event:#}");
            if first < number && number <= last {
                tally.delivered += 1;
                // A relay that begins anew is told of what came before the stretch too.
                tally.dropped += dropped.min(number - first - 1);
            }
        }
        Ok(tally)
    }
}

/// Number of the first event on this resource.
pub(super) fn number_of(node: &Node, resource: &str) -> Result<u64> {
    number(&event_on(node, resource, "Block")?)
}

fn number(event: &Value) -> Result<u64> {
    field(event, "sequence")
}

fn field(event: &Value, name: &str) -> Result<u64> {
    event[name].as_u64().with_context(|| format!("no {name} in {event:#}"))
}
