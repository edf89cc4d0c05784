// SPDX-License-Identifier: Apache-2.0
//! Events of one connection: each gets the provenance of its rules and of its primitive, and goes to
//! the hub.

use std::{collections::VecDeque, sync::Arc};

use kadapter_proto::guest::v1::{WatchEventsRequest, guest_client::GuestClient};
use kubesmith::{EffectiveOption, Provenance};
use policy_model::{Event, Primitive, RuleId, Target};
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::warn;

use super::{SessionError, answered, failed};
use crate::{
    events::{Hub, Report},
    pipeline::Plan,
    sandbox::Address,
};

/// Plans that are remembered: twice as many as the engine has slots for containers, so that events
/// which are older than the newest plan still find theirs.
const REMEMBERED: usize = 512;

/// Where rules and options of recent plans come from.
#[derive(Debug, Default)]
pub(super) struct Attribution {
    /// Oldest first.
    plans: VecDeque<(Target, Arc<Plan>)>,
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
        let message = events.message().await.map_err(|status| failed("WatchEvents", &status))?;
        let message = message.ok_or(SessionError::Ended("WatchEvents"))?;
        let number = message.sequence;
        match Event::try_from(message) {
            Ok(event) => {
                let report = source.attribution.borrow().complete(&source.address, event);
                source.hub.report(report).await;
            }
            Err(error) => warn!(%error, "an event is left out"),
        }
        // Not before: the connection may end while the sink is full, and the next one asks again.
        *sequence = (*sequence).max(number);
    }
}

// === impl Attribution ===

impl Attribution {
    /// Notes that rules of this plan may decide in this container from now on.
    pub(super) fn note(&mut self, target: &Target, plan: &Arc<Plan>) {
        if self.plans.iter().any(|(of, known)| of == target && Arc::ptr_eq(known, plan)) {
            return;
        }
        if self.plans.len() == REMEMBERED {
            self.plans.pop_front();
        }
        self.plans.push_back((target.clone(), plan.clone()));
    }

    /// An event with where its rules and its primitive come from, as far as that is still known.
    fn complete(&self, sandbox: &Address, event: Event) -> Report {
        let plans = || self.plans.iter().rev().filter(|(target, _)| *target == event.target);
        let provenance =
            |rule| plans().find_map(|(_, plan)| plan.compiled.provenance.get(rule)).cloned();
        let rules: Vec<(RuleId, Option<Provenance>)> =
            event.rules.iter().map(|rule| (*rule, provenance(rule))).collect();
        let feature = event.primitive.and_then(Primitive::option);
        let asked = feature
            .and_then(|feature| plans().find_map(|(_, plan)| plan.compiled.options.get(&feature)));
        let options: Vec<EffectiveOption> = asked.cloned().unwrap_or_default();
        Report { sandbox: sandbox.clone(), event, rules, options }
    }
}
