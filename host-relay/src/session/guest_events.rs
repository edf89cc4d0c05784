// SPDX-License-Identifier: Apache-2.0
//! Events of one connection: each gets the provenance of its rules and goes to the hub.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use kadapter_proto::guest::v1::{WatchEventsRequest, guest_client::GuestClient};
use kubesmith::Provenance;
use policy_model::{Event, RuleId, Target};
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::warn;

use super::{SessionError, answered, failed};
use crate::{
    events::{Hub, Report},
    pipeline::Plan,
    sandbox::Address,
};

/// Plans of one container that are remembered: events may be older than the newest plan.
const REMEMBERED: usize = 4;

/// Where rules of recent plans come from.
#[derive(Debug, Default)]
pub(super) struct Attribution {
    plans: BTreeMap<Target, VecDeque<Arc<Plan>>>,
}

/// What events are completed with, and where they go.
pub(super) struct Source {
    pub(super) address: Address,
    pub(super) hub: Hub,
    pub(super) attribution: watch::Receiver<Attribution>,
}

/// Relays events until the stream ends. A slow sink slows only this stream: the guest holds events
/// back, and counts those that it must drop.
pub(super) async fn relay(
    mut client: GuestClient<Channel>,
    source: Source,
    sequence: &mut u64,
) -> Result<(), SessionError> {
    let request = WatchEventsRequest { since: *sequence };
    let mut events = answered("WatchEvents", client.watch_events(request)).await?;
    loop {
        let message = events.message().await.map_err(|source| failed("WatchEvents", source))?;
        let message = message.ok_or(SessionError::Ended("WatchEvents"))?;
        *sequence = (*sequence).max(message.sequence);
        match Event::try_from(message) {
            Ok(event) => {
                let rules = source.attribution.borrow().of(&event);
                let sandbox = source.address.clone();
                source.hub.report(Report { sandbox, event, rules }).await;
            }
            Err(error) => warn!(%error, "an event is left out"),
        }
    }
}

// === impl Attribution ===

impl Attribution {
    /// Notes that rules of this plan may decide in this container from now on.
    pub(super) fn note(&mut self, target: &Target, plan: &Arc<Plan>) {
        let plans = self.plans.entry(target.clone()).or_default();
        if plans.back().is_some_and(|last| Arc::ptr_eq(last, plan)) {
            return;
        }
        plans.push_back(plan.clone());
        if plans.len() > REMEMBERED {
            plans.pop_front();
        }
    }

    /// The rules of an event, each with its provenance if it is still known.
    fn of(&self, event: &Event) -> Vec<(RuleId, Option<Provenance>)> {
        let plans = self.plans.get(&event.target);
        let provenance = |rule: &RuleId| {
            let newest_first = plans.into_iter().flatten().rev();
            newest_first.filter_map(|plan| plan.compiled.provenance.get(rule)).next().cloned()
        };
        event.rules.iter().map(|rule| (*rule, provenance(rule))).collect()
    }
}
