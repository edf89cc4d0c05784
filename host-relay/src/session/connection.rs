// SPDX-License-Identifier: Apache-2.0
//! One connection: the guest's containers are followed and get what they should have.
//!
//! Containers of the guest and desired states flow in, parcels flow out. Everything is level
//! triggered: after each change the whole difference is looked at again.

use std::collections::BTreeSet;

use kadapter_proto::guest::v1::{
    Applied, ContainerChange, StatusRequest, TargetStatus, WatchContainersRequest,
    guest_client::GuestClient,
};
use policy_model::{Target, wire};
use tokio::{sync::watch, task::JoinSet};
use tonic::transport::Channel;
use tracing::{Instrument as _, debug, info, warn};

use super::{
    Session, SessionError, answered, failed,
    guest_events::{self, Attribution},
};
use crate::{
    push::{Ledger, Parcel, PushError, send},
    sandbox::{ContainerState, Containers, in_force},
    status::ContainerView,
};

type Sent = (Parcel, Result<Applied, PushError>);

/// The state of one connection.
pub(super) struct Connection<'a> {
    session: &'a mut Session,
    client: GuestClient<Channel>,
    /// What the guest enforces.
    features: BTreeSet<String>,
    containers: Containers,
    ledger: Ledger,
    sending: JoinSet<Sent>,
    attribution: watch::Sender<Attribution>,
}

// === impl Connection ===

impl<'a> Connection<'a> {
    pub(super) fn new(
        session: &'a mut Session,
        client: GuestClient<Channel>,
        features: Vec<String>,
    ) -> Self {
        Self {
            session,
            client,
            features: features.into_iter().collect(),
            containers: Containers::default(),
            ledger: Ledger::default(),
            sending: JoinSet::new(),
            attribution: watch::Sender::new(Attribution::default()),
        }
    }

    /// Runs until the connection ends.
    pub(super) async fn run(mut self, sequence: &mut u64) -> Result<(), SessionError> {
        let status = answered("Status", self.client.status(StatusRequest {})).await?;
        for target in status.targets {
            self.note_target(target)?;
        }
        let mut changes =
            answered("WatchContainers", self.client.watch_containers(WatchContainersRequest {}))
                .await?;
        let source = guest_events::Source {
            address: self.session.address.clone(),
            hub: self.session.hub.clone(),
            attribution: self.attribution.subscribe(),
        };
        let events = guest_events::relay(self.client.clone(), source, sequence);
        tokio::pin!(events);
        let mut desired = self.session.desired.clone();
        loop {
            tokio::select! {
                change = changes.message() => self.take_change(next(change)?).await?,
                changed = desired.changed() => changed.map_err(|_| SessionError::Stopping)?,
                Some(sent) = self.sending.join_next() => self.take_sent(sent)?,
                ended = &mut events => return ended,
            }
            self.push();
            self.show();
        }
    }

    fn note_target(&mut self, status: TargetStatus) -> Result<(), SessionError> {
        let target = target(status.target)?;
        self.ledger.note(&target, in_force(status.generation, &status.digest)?);
        self.ledger.note_residues(&target, status.residues);
        Ok(())
    }

    async fn take_change(&mut self, change: ContainerChange) -> Result<(), SessionError> {
        let id = change.container_id.clone();
        let reason = change.reason.clone();
        match self.containers.update(change)? {
            Some(container) => {
                info!(id, container = %container.target, state = ?container.state, "container");
                let in_force = match container.state {
                    ContainerState::Waiting => None,
                    ContainerState::Registered | ContainerState::Started => container.in_force,
                };
                if in_force.is_some() || container.state == ContainerState::Waiting {
                    self.ledger.note(&container.target, in_force);
                }
            }
            None => info!(id, reason, "container gone"),
        }
        let targets: BTreeSet<_> = self.targets().collect();
        self.ledger.retain(|target| targets.contains(target));
        let report = (self.session.address.clone(), targets);
        self.session.containers.send(report).await.map_err(|_| SessionError::Stopping)
    }

    fn take_sent(
        &mut self,
        sent: Result<Sent, tokio::task::JoinError>,
    ) -> Result<(), SessionError> {
        let (parcel, outcome) = sent.map_err(|error| SessionError::Push(error.to_string()))?;
        let (target, generation) = (&parcel.target, parcel.generation);
        match outcome {
            Ok(applied) => {
                info!(container = %target, %generation, digest = %parcel.digest, took_ns = applied.took_ns, "applied");
                self.ledger.applied(&parcel, applied.residues);
            }
            Err(PushError::Connection(reason)) => return Err(SessionError::Push(reason)),
            Err(error @ (PushError::Refused(_) | PushError::Mismatch { .. })) => {
                warn!(container = %target, %generation, %error, "not applied, the last rule set stays in force");
                self.ledger.refused(&parcel, error.to_string());
            }
        }
        Ok(())
    }

    /// Sends what differs from the desired state.
    fn push(&mut self) {
        let desired = self.session.desired.borrow().clone();
        for target in self.targets().collect::<BTreeSet<_>>() {
            let Some(Ok(plan)) = desired.get(&target) else { continue };
            self.attribution.send_modify(|attribution| attribution.note(&target, plan));
            let Some(parcel) = self.ledger.next(&target, plan) else { continue };
            match self.missing(&parcel) {
                None => self.send(parcel),
                Some(feature) => {
                    let reason = format!("the guest lacks `{feature}`; upgrade the guest");
                    warn!(container = %target, reason, "not sent");
                    self.ledger.refused(&parcel, reason);
                }
            }
        }
    }

    fn send(&mut self, parcel: Parcel) {
        debug!(container = %parcel.target, generation = %parcel.generation, digest = %parcel.digest, "sending");
        let client = self.client.clone();
        let outcome = async move {
            let outcome = send(client, &parcel).await;
            (parcel, outcome)
        };
        self.sending.spawn(outcome.in_current_span());
    }

    fn missing(&self, parcel: &Parcel) -> Option<String> {
        let needed = parcel.plan.compiled.rules.features();
        needed.iter().map(ToString::to_string).find(|feature| !self.features.contains(feature))
    }

    fn targets(&self) -> impl Iterator<Item = Target> {
        // The pause container and others that Kubernetes did not name get their rules in the guest.
        let named = self
            .containers
            .iter()
            .filter(|(_, container)| !container.target.container_name.is_empty());
        named.map(|(_, container)| container.target.clone())
    }

    fn show(&self) {
        let desired = self.session.desired.borrow().clone();
        let view = |(id, container): (&str, &crate::sandbox::Container)| {
            let (in_force, residues, refused) = self.ledger.standing(&container.target);
            let (policies, problem) = match desired.get(&container.target) {
                Some(Ok(plan)) => (plan.policies.clone(), refused.unwrap_or_default().into()),
                Some(Err(problem)) => (Vec::new(), problem.clone()),
                None => (Vec::new(), String::new()),
            };
            ContainerView {
                id: id.into(),
                target: container.target.clone(),
                state: container.state,
                in_force,
                policies,
                residues: residues.to_vec(),
                error: problem,
            }
        };
        let containers: Vec<_> = self.containers.iter().map(view).collect();
        self.session.view.send_if_modified(|view| {
            let changed = view.containers != containers;
            view.containers = containers;
            changed
        });
    }
}

fn next(
    change: Result<Option<ContainerChange>, tonic::Status>,
) -> Result<ContainerChange, SessionError> {
    let change = change.map_err(|source| failed("WatchContainers", source))?;
    change.ok_or(SessionError::Ended("WatchContainers"))
}

fn target(
    message: Option<kadapter_proto::policy::v1::Target>,
) -> Result<Target, crate::sandbox::InvalidReport> {
    Ok(wire::target_from_wire(message.unwrap_or_default())?)
}
