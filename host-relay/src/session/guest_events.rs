// SPDX-License-Identifier: Apache-2.0
//! Events of one connection: each gets the provenance of its rules and of its primitive, and goes to
//! the hub.

use std::{collections::VecDeque, sync::Arc};

use kadapter_proto::guest::v1::{WatchEventsRequest, guest_client::GuestClient};
use kubesmith::{EffectiveOption, Provenance};
use policy_model::{
    Action, Event, Object, PathObject, Primitive, Rule, RuleId, RulePath, RuleSet, Target,
};
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
    /// Id of the sandbox, which is that of its pause container.
    sandbox: Option<String>,
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

    /// Notes a container: that of the sandbox has no name in the pod.
    pub(super) fn note_container(&mut self, id: &str, target: &Target) {
        if target.container_name.is_empty() {
            self.sandbox = Some(id.to_owned());
        }
    }

    /// An event with where its rules and its primitive come from, as far as that is still known.
    fn complete(&self, address: &Address, mut event: Event) -> Report {
        let target = event.target.clone();
        let plans = || self.plans.iter().rev().filter(|(of, _)| *of == target);
        if event.primitive == Some(Primitive::CoveringMount) && event.rules.is_empty() {
            let rules = plans().next().map(|(_, plan)| covered(&plan.compiled.rules, &event.path));
            event.rules = rules.unwrap_or_default();
        }
        let provenance =
            |rule| plans().find_map(|(_, plan)| plan.compiled.provenance.get(rule)).cloned();
        let rules: Vec<(RuleId, Option<Provenance>)> =
            event.rules.iter().map(|rule| (*rule, provenance(rule))).collect();
        let feature = event.primitive.and_then(Primitive::option);
        let asked = feature
            .and_then(|feature| plans().find_map(|(_, plan)| plan.compiled.options.get(&feature)));
        let options: Vec<EffectiveOption> = asked.cloned().unwrap_or_default();
        let sandbox = self.sandbox.clone().unwrap_or_else(|| address.to_string());
        Report { sandbox, event, rules, options }
    }
}

/// Block rules that a mount at this point would hide the objects of.
fn covered(rules: &RuleSet, point: &str) -> Vec<RuleId> {
    let Ok(point) = RulePath::new(point) else { return Vec::new() };
    let is_covered = |rule: &&Rule| match &rule.object {
        Object::Path(PathObject { path, .. }) | Object::Applet { binary: path, .. } => {
            path.below(&point).is_some()
        }
        Object::Directory(directory) => {
            directory.path.below(&point).is_some() || directory.covers(&point)
        }
        _ => false,
    };
    let blocks = rules.rules().iter().filter(|rule| rule.action == Action::Block);
    blocks.filter(is_covered).map(|rule| rule.id).collect()
}

#[cfg(test)]
mod tests {
    use policy_model::{Category, Directory, Generation, Match};

    use super::*;

    fn block(id: u64, object: Object) -> Rule {
        Rule::new(RuleId(id), Category::File, Action::Block, object)
    }

    fn path(text: &str) -> RulePath {
        RulePath::new(text).unwrap()
    }

    #[test]
    fn a_mount_is_attributed_to_the_rules_that_it_would_hide() {
        let file = |text| Object::Path(PathObject { path: path(text), matching: Match::Name });
        let data = Directory { path: path("/data"), recursive: true, atomic_volume: false };
        let rules = RuleSet::empty(Target::default(), Generation(1)).with_rules(vec![
            block(1, file("/usr/bin/apt")),
            block(2, Object::Directory(data)),
            Rule { action: Action::Allow, ..block(3, file("/usr/bin/ls")) },
        ]);
        let covered = |point| covered(&rules, point).into_iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(covered("/usr"), [1]);
        assert_eq!(covered("/"), [1, 2]);
        assert_eq!(covered("/data/deep/in"), [2]);
        assert_eq!(covered("/usr/bin/apt-get"), [0; 0]);
    }

    #[test]
    fn a_sandbox_is_named_as_its_pause_container() {
        let mut attribution = Attribution::default();
        let named = Target { container_name: "web".into(), ..Target::default() };
        attribution.note_container("c1", &named);
        assert_eq!(attribution.sandbox, None);
        attribution.note_container("s1", &Target::default());
        assert_eq!(attribution.sandbox.as_deref(), Some("s1"));
    }
}
