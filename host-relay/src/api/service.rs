// SPDX-License-Identifier: Apache-2.0
//! The calls of the service.

use std::{pin::Pin, sync::Arc};

use kadapter_proto::relay::v1::{
    GetRuleSetReply, GetRuleSetRequest, ListPoliciesReply, ListPoliciesRequest, ListSandboxesReply,
    ListSandboxesRequest, PolicyEvent, WatchEventsRequest, relay_server::Relay,
};
use policy_model::{Generation, Target, wire};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, info_span};

use super::to_wire;
use crate::{
    events::{Hub, Report},
    pipeline::Plan,
    status::{SandboxViews, Views, Wanted},
    stop::Stop,
};

/// Answers from the views.
pub(super) struct RelayService {
    views: Views,
    hub: Hub,
    stop: Stop,
}

// === impl RelayService ===

impl RelayService {
    pub(super) fn new(views: Views, hub: Hub, stop: Stop) -> Self {
        Self { views, hub, stop }
    }

    /// What a container should have; with the generation that is in force, if one is.
    fn wanted(&self, request: &GetRuleSetRequest) -> Option<(Wanted, Generation)> {
        let asked = |target: &Target| {
            (&target.namespace, &target.pod, &target.container_name)
                == (&request.namespace, &request.pod, &request.container_name)
        };
        self.views.sandboxes.iter().find_map(|views: &SandboxViews| {
            let desired = views.desired.borrow();
            let (target, wanted) = desired.iter().find(|(target, _)| asked(target))?;
            let session = views.session.borrow();
            let shown = session.containers.iter().find(|shown| shown.target == *target);
            let generation =
                shown.and_then(|shown| shown.in_force).map(|(generation, _)| generation);
            Some((wanted.clone(), generation.unwrap_or_default()))
        })
    }
}

#[tonic::async_trait]
impl Relay for RelayService {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<PolicyEvent, Status>> + Send>>;

    async fn list_sandboxes(
        &self,
        _: Request<ListSandboxesRequest>,
    ) -> Result<Response<ListSandboxesReply>, Status> {
        let sandboxes = self.views.sandboxes.iter();
        let sandboxes = sandboxes.map(|views| to_wire::sandbox(&views.session.borrow())).collect();
        Ok(Response::new(ListSandboxesReply { sandboxes }))
    }

    async fn list_policies(
        &self,
        _: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesReply>, Status> {
        let policies = self.views.policies.borrow().iter().map(to_wire::policy).collect();
        Ok(Response::new(ListPoliciesReply { policies }))
    }

    async fn get_rule_set(
        &self,
        request: Request<GetRuleSetRequest>,
    ) -> Result<Response<GetRuleSetReply>, Status> {
        match self.wanted(request.get_ref()) {
            Some((Ok(plan), generation)) => Ok(Response::new(rule_set(&plan, generation))),
            Some((Err(reason), _)) => Err(Status::failed_precondition(reason)),
            None => Err(Status::not_found("no guest has such a container; see ListSandboxes")),
        }
    }

    async fn watch_events(
        &self,
        _: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let relayed = relay(self.hub.watch(), sender);
        let stop = self.stop.clone().wait();
        let task = async move {
            tokio::select! {
                () = relayed => {}
                () = stop => {}
            }
        };
        tokio::spawn(task.instrument(info_span!("watcher")));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Passes reports on until the watcher goes away, and tells it what it lost.
async fn relay(
    mut reports: broadcast::Receiver<Arc<Report>>,
    watcher: mpsc::Sender<Result<PolicyEvent, Status>>,
) {
    let mut lost = 0;
    loop {
        let report = tokio::select! {
            report = reports.recv() => report,
            () = watcher.closed() => return,
        };
        match report {
            Ok(report) => {
                let event = to_wire::event(&report, std::mem::take(&mut lost));
                if watcher.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(count)) => lost += count,
            Err(RecvError::Closed) => return,
        }
    }
}

fn rule_set(plan: &Arc<Plan>, generation: Generation) -> GetRuleSetReply {
    let mut rules = plan.compiled.rules.clone();
    rules.generation = generation;
    GetRuleSetReply {
        digest: wire::digest(&rules).to_string(),
        rule_set: Some((&rules).into()),
        provenance: plan.compiled.provenance.iter().map(to_wire::provenance).collect(),
        options: plan.compiled.options.values().flatten().map(to_wire::option).collect(),
    }
}
