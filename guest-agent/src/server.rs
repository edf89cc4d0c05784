// SPDX-License-Identifier: Apache-2.0
//! What the agent offers to the relay of its node.
//!
//! Calls flow in over vsock, from the host alone and over TLS from a relay whose key is configured,
//! one relay at a time; messages flow out. Meaning is elsewhere: this module turns messages into
//! calls of [`apply`], [`registry`](crate::registry), [`events`](crate::events) and
//! [`files`](crate::files), and their errors into gRPC's codes.

mod admission;
mod envelope;
mod incoming;
mod index;
mod messages;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod watchers;

use std::{fs, future::Future, io, time::Duration};

use kadapter_proto::guest::v1::{
    Applied, Chunk, ContainerChange, Event, HandshakeReply, HandshakeRequest, IndexEntry,
    IndexRequest, RemoveReply, RemoveRequest, StatusReply, StatusRequest, WatchContainersRequest,
    WatchEventsRequest,
    guest_server::{Guest, GuestServer},
};
use policy_model::{eval::SUPPORTED, limits::MAX_MESSAGE_BYTES, wire};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    service::interceptor::InterceptedService,
    transport::{Server, server::Router},
};

use session::OneSession;

pub use envelope::{Envelopes, append_chunk};
pub use incoming::{ListenError, Listener};
pub use index::{Question, Questions};

use crate::{
    apply, events::Events, files::Query, posture::Posture, registry::Registry, trust::Trust,
};

/// A relay that is killed, or a guest that is resumed elsewhere, leaves a session that is silent
/// for ever: it is asked after ten seconds of silence, and has twice that to answer, as on a host
/// that is busy or swaps.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// From the first byte of a call to its reply; streams of replies go on. The largest rule set is
/// sent and installed in a few seconds on a guest without KVM.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls at once on a connection: a relay has a few streams and sends to each container of a pod, of
/// which there are tens at most; those beyond wait at the relay.
const MAX_CALLS: u32 = 64;

/// Bytes of a call's names and values, which are some hundred; HTTP/2 libraries take 16 KiB or more
/// of them from anybody.
const MAX_HEADER_BYTES: u32 = 8 * 1024;

/// Messages that wait for a slow reader before the source is read no further.
const STREAM_QUEUE: usize = 64;

/// The service.
#[derive(Clone, Debug)]
pub struct GuestService {
    /// Containers and rule sets.
    pub registry: Registry,
    /// What the agent promises.
    pub posture: watch::Receiver<Posture>,
    /// Decisions of the kernel.
    pub events: Events,
    /// What relays ask about files.
    pub questions: Questions,
    /// Rule sets that arrive.
    pub envelopes: Envelopes,
    /// True when the agent ends: streams end too then.
    pub shutdown: watch::Receiver<bool>,
}

/// Serves the relay until `shutdown`, then lets calls end.
///
/// # Errors
/// If the connection's machinery fails.
pub async fn serve(
    service: GuestService,
    (listener, trust): (Listener, Trust),
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let relays = admission::admit(listener, trust);
    router(service).serve_with_incoming_shutdown(relays, shutdown).await
}

fn router(service: GuestService) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(reporter, service.posture.clone()));
    let guest = GuestServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(envelope::STREAM_WINDOW)
        .initial_connection_window_size(envelope::CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_CALLS)
        .timeout(CALL_TIMEOUT)
        .add_service(health)
        .add_service(InterceptedService::new(guest, OneSession::default()));
    with_reflection(router)
}

#[cfg(feature = "reflection")]
fn with_reflection(router: Router) -> Router {
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(kadapter_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    router.add_service(service.expect("the build script wrote a valid descriptor set"))
}

#[cfg(not(feature = "reflection"))]
fn with_reflection(router: Router) -> Router {
    router
}

/// Healthy means that rule sets are put into force, for the agent as a whole and for its service:
/// enforcing, with or without a loss. An agent that takes over is not yet.
async fn report_health(
    reporter: tonic_health::server::HealthReporter,
    mut posture: watch::Receiver<Posture>,
) {
    loop {
        let status = if posture.borrow_and_update().enforces() {
            tonic_health::ServingStatus::Serving
        } else {
            tonic_health::ServingStatus::NotServing
        };
        for name in ["", <GuestServer<GuestService> as tonic::server::NamedService>::NAME] {
            reporter.set_service_status(name, status).await;
        }
        if posture.changed().await.is_err() {
            return;
        }
    }
}

#[tonic::async_trait]
impl Guest for GuestService {
    async fn handshake(
        &self,
        request: Request<HandshakeRequest>,
    ) -> Result<Response<HandshakeReply>, Status> {
        tracing::info!(relay = request.get_ref().version, "handshake");
        Ok(Response::new(HandshakeReply {
            version: env!("CARGO_PKG_VERSION").into(),
            features: features(),
            boot_id: boot_id().map_err(|error| Status::internal(error.to_string()))?,
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        }))
    }

    async fn apply(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Applied>, Status> {
        self.check_posture()?;
        let envelope = self.envelopes.collect(request.into_inner()).await?;
        let applied = apply::apply(&self.registry, envelope).await;
        let (applied, took) = applied.map_err(|error| status::of_apply(&error))?;
        Ok(Response::new(messages::applied(applied, took)))
    }

    async fn remove(
        &self,
        request: Request<RemoveRequest>,
    ) -> Result<Response<RemoveReply>, Status> {
        self.check_posture()?;
        let target = request.into_inner().target;
        let target = target.ok_or_else(|| Status::invalid_argument("`target` is missing"))?;
        let target = wire::target_from_wire(target)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let removed = self.registry.remove(target).await;
        removed.map_err(|error| status::of_remove(&error))?;
        Ok(Response::new(RemoveReply {}))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let posture = self.posture.borrow().clone();
        let kernel = if posture.enforces() {
            self.registry.counters().await.map_err(|error| status::of_apply(&error))?
        } else {
            Default::default()
        };
        let view = self.registry.view().borrow().clone();
        Ok(Response::new(StatusReply {
            posture: messages::posture(&posture).into(),
            reason: posture.reason(),
            features: features(),
            targets: messages::targets(&view, &kernel),
            counters: Some(messages::counters(&kernel, &view)),
            boot_id: boot_id().map_err(|error| Status::internal(error.to_string()))?,
        }))
    }

    type WatchEventsStream = ReceiverStream<Result<Event, Status>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (events, since) = (self.events.clone(), request.get_ref().since);
        Ok(self.stream(|replies| watchers::events(events, since, replies)))
    }

    type WatchContainersStream = ReceiverStream<Result<ContainerChange, Status>>;

    async fn watch_containers(
        &self,
        _: Request<WatchContainersRequest>,
    ) -> Result<Response<Self::WatchContainersStream>, Status> {
        let view = self.registry.view();
        Ok(self.stream(|replies| watchers::containers(view, replies)))
    }

    type IndexStream = ReceiverStream<Result<IndexEntry, Status>>;

    async fn index(
        &self,
        request: Request<IndexRequest>,
    ) -> Result<Response<Self::IndexStream>, Status> {
        self.check_posture()?;
        let Question { id, paths } = request.into_inner().try_into()?;
        let slot = self.questions.admit()?;
        let root = self.registry.root(id).await.map_err(|error| status::of_root(&error))?;
        Ok(self.stream(|replies| index::answer(Query::new(root, paths), slot, replies)))
    }
}

// === impl GuestService ===

impl GuestService {
    fn check_posture(&self) -> Result<(), Status> {
        match &*self.posture.borrow() {
            Posture::Enforcing | Posture::Degraded(_) => Ok(()),
            posture @ (Posture::Starting | Posture::TakingOver) => {
                Err(Status::unavailable(posture.reason()))
            }
            posture @ Posture::Refusing(_) => Err(Status::failed_precondition(posture.reason())),
        }
    }

    /// Replies of a watcher that runs until its reader, its source or the agent ends.
    fn stream<T, W>(&self, watch: impl FnOnce(mpsc::Sender<T>) -> W) -> Response<ReceiverStream<T>>
    where
        T: Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let (replies, stream) = mpsc::channel(STREAM_QUEUE);
        let watcher = watch(replies);
        let mut shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watcher => {}
                _ = shutdown.wait_for(|ends| *ends) => {}
            }
        });
        Response::new(ReceiverStream::new(stream))
    }
}

fn features() -> Vec<String> {
    SUPPORTED.iter().map(ToString::to_string).collect()
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}
