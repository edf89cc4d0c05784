// SPDX-License-Identifier: Apache-2.0
//! One connection: the guest's containers are followed and get what they should have.
//!
//! Containers of the guest and desired states flow in, parcels flow out. Everything is level
//! triggered: after each change the whole difference is looked at again.

use std::collections::BTreeSet;

use kadapter_proto::guest::v1::{
    Applied, ContainerChange, StatusReply, WatchContainersRequest, guest_client::GuestClient,
};
use policy_model::Target;
use tokio::{sync::watch, task::JoinSet};
use tonic::transport::Channel;
use tracing::{Instrument as _, debug, info, warn};

use super::{
    Session, SessionError, answered, ask_status, failed,
    guest_events::{self, Attribution},
    memory::Memory,
    posture,
    residues::Line,
    texts::shown,
};
use crate::{
    push::{Ledger, Parcel, PushError, send},
    sandbox::{
        Container, ContainerState, Containers, InvalidReport, MAX_TARGETS, in_force, target,
    },
    status::{ContainerView, GuestPosture},
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
    pub(super) async fn run(mut self, memory: &mut Memory) -> Result<(), SessionError> {
        let Memory { sequence, told, .. } = memory;
        let status = ask_status(&self.client).await?;
        self.note_status(status, told)?;
        self.report().await?;
        let mut changes =
            answered("WatchContainers", self.client.watch_containers(WatchContainersRequest {}))
                .await?;
        let source = guest_events::Source {
            address: self.session.address.clone(),
            hub: self.session.hub.clone(),
            attribution: self.attribution.subscribe(),
        };
        let events = guest_events::relay(self.client.clone(), source, sequence);
        let postures = posture::follow(self.client.clone(), self.session.view.clone(), told);
        tokio::pin!(events, postures);
        let mut desired = self.session.desired.clone();
        loop {
            tokio::select! {
                change = changes.message() => self.take_change(next(change)?).await?,
                changed = desired.changed() => changed.map_err(|_| SessionError::Stopping)?,
                Some(sent) = self.sending.join_next() => self.take_sent(sent)?,
                ended = &mut events => return ended,
                ended = &mut postures => return ended,
            }
            self.push();
            self.show();
        }
    }

    fn note_status(
        &mut self,
        status: StatusReply,
        told: &mut GuestPosture,
    ) -> Result<(), SessionError> {
        posture::show(&status, &self.session.view, told);
        if status.targets.len() > MAX_TARGETS {
            return Err(InvalidReport::TooMany.into());
        }
        for held in status.targets {
            let target = target(held.target)?;
            self.ledger.note(&target, in_force(held.generation, &held.digest)?);
            self.ledger.note_residues(&target, held.residues);
        }
        Ok(())
    }

    async fn take_change(&mut self, change: ContainerChange) -> Result<(), SessionError> {
        let id = change.container_id.clone();
        let reason = shown(&change.reason).to_owned();
        match self.containers.update(change)? {
            Some(container) => {
                info!(id, container = %container.target, state = ?container.state, "container");
                self.attribution
                    .send_modify(|attribution| attribution.note_container(&id, &container.target));
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
        if self.ledger.followed() > MAX_TARGETS {
            return Err(InvalidReport::TooMany.into());
        }
        self.report().await
    }

    async fn report(&self) -> Result<(), SessionError> {
        let report = (self.session.address.clone(), self.targets());
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
                for line in self.session.told.news(target, &parcel.plan, &applied.residues) {
                    tell(target, &parcel.plan.image, &line);
                }
                self.ledger.applied(&parcel, applied.residues);
            }
            Err(PushError::Connection(reason)) => return Err(SessionError::Push(reason)),
            Err(error @ (PushError::Refused(_) | PushError::Mismatch { .. })) => {
                let error = error.to_string();
                warn!(container = %target, %generation, error, "not applied, the last rule set stays in force");
                self.ledger.refused(&parcel, error);
            }
        }
        Ok(())
    }

    /// Sends what differs from the desired state.
    fn push(&mut self) {
        let desired = self.session.desired.borrow().clone();
        for target in self.targets() {
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

    /// Containers that exist, and those that the guest holds a rule set for. The pause container
    /// and others that Kubernetes did not name get theirs in the guest.
    fn targets(&self) -> BTreeSet<Target> {
        let exist = self.containers.iter().map(|(_, container)| &container.target);
        let named = |target: &&Target| !target.container_name.is_empty();
        exist.chain(self.ledger.held()).filter(named).cloned().collect()
    }

    fn show(&self) {
        let desired = self.session.desired.borrow().clone();
        let view = |(id, container): (&str, &Container)| {
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

/// What an image lacks is nothing to act on: the name is held if a file comes there.
fn tell(container: &Target, image: &str, line: &Line) {
    let Line { policy, is_absence, details, more } = line;
    let details = details.join("; ");
    if *is_absence {
        info!(%container, image, policy, details, more, "residue: files that the image lacks are held by name alone");
    } else {
        warn!(%container, image, policy, details, more, "residue: rules hold in part");
    }
}

fn next(
    change: Result<Option<ContainerChange>, tonic::Status>,
) -> Result<ContainerChange, SessionError> {
    let change = change.map_err(|status| failed("WatchContainers", &status))?;
    change.ok_or(SessionError::Ended("WatchContainers"))
}
