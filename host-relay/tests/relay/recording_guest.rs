// SPDX-License-Identifier: Apache-2.0
//! A guest that records what it is sent. It stands for the agent in a virtual machine: the protocol
//! and the validation of rule sets are the real ones, nothing is enforced.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Instant,
};

use kadapter_proto::guest::v1::{
    self as pb, ContainerChange, ContainerState,
    guest_server::{Guest, GuestServer},
};
use policy_model::{Digest, Feature, RuleSet, Target, wire};
use prost::Message as _;
use session_tls::{RelayKeys, server_config};
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    net::UnixListener,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{ReceiverStream, UnboundedReceiverStream, UnixListenerStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::rig::Keys;

/// Far more than a frame.
const DUPLEX_BYTES: usize = 64 * 1024;

type Reply<T> = Result<Response<T>, Status>;
type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A guest that outlives its connections.
pub(crate) struct RecordingGuest {
    path: PathBuf,
    /// None in the clear.
    pub(crate) keys: Option<Keys>,
    shared: Shared,
    server: JoinHandle<()>,
}

/// What the guest knows and was told.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) applied: Vec<RuleSet>,
    /// When the last one was.
    pub(crate) applied_at: Option<Instant>,
    /// When relays came, and when TLS with them was done.
    pub(crate) greeted: Vec<(Instant, Instant)>,
    pub(crate) handshakes: usize,
    pub(crate) chunks: usize,
    pub(crate) refuse: Option<String>,
    /// Unspecified stands for enforcing.
    pub(crate) posture: (pb::PostureState, &'static str),
    pub(crate) boot_id: String,
    /// What it says its version is.
    pub(crate) version: String,
    /// Whether it leaves handshakes unanswered.
    pub(crate) silent: bool,
    /// `since` of each event stream.
    pub(crate) since: Vec<u64>,
    in_force: BTreeMap<Target, (u64, Digest)>,
    containers: BTreeMap<String, ContainerChange>,
    events: Vec<pb::Event>,
    container_streams: Vec<mpsc::UnboundedSender<Result<ContainerChange, Status>>>,
    event_streams: Vec<mpsc::UnboundedSender<Result<pb::Event, Status>>>,
}

#[derive(Clone)]
struct Shared {
    record: Arc<Mutex<Record>>,
    changed: watch::Sender<()>,
}

// === impl RecordingGuest ===

impl RecordingGuest {
    pub(crate) fn listen(path: &Path, keys: Option<Keys>) -> Self {
        let (boot_id, version) = ("boot-1".into(), "recording".into());
        let record = Record { boot_id, version, ..Record::default() };
        let shared =
            Shared { record: Arc::new(Mutex::new(record)), changed: watch::Sender::new(()) };
        let server = shared.serve(path, keys.as_ref());
        Self { path: path.into(), keys, shared, server }
    }

    /// Closes every connection and stops listening.
    pub(crate) async fn go_away(&mut self) {
        self.server.abort();
        // Aborted, so it has no result.
        let _ = (&mut self.server).await;
        self.update(|record| {
            record.container_streams.clear();
            record.event_streams.clear();
        });
        std::fs::remove_file(&self.path).unwrap();
    }

    /// Listens again, with everything as it was, or with the keys that it was given since.
    pub(crate) fn come_back(&mut self) {
        self.server = self.shared.serve(&self.path, self.keys.as_ref());
    }

    /// Another guest behind the same address: nothing is as it was.
    pub(crate) fn reboot(&self, boot_id: &str) {
        self.update(|record| {
            record.boot_id = boot_id.into();
            record.in_force.clear();
            record.containers.clear();
            record.events.clear();
        });
    }

    pub(crate) fn report(&self, change: ContainerChange) {
        self.update(|record| record.change(change));
    }

    pub(crate) fn emit(&self, event: pb::Event) {
        self.update(|record| {
            record.event_streams.retain(|stream| stream.send(Ok(event.clone())).is_ok());
            record.events.push(event);
        });
    }

    pub(crate) fn refuse(&self, reason: Option<&str>) {
        self.update(|record| record.refuse = reason.map(Into::into));
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Record)) {
        self.shared.update(change);
    }

    /// Waits until the record is as asked, and looks at it.
    pub(crate) async fn until<T>(&self, look: impl Fn(&Record) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            loop {
                if let Some(found) = look(&self.shared.record.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(crate::rig::DEADLINE, wait).await.unwrap()
    }

    /// The nth rule set that was sent, from 1.
    pub(crate) async fn applied(&self, number: usize) -> RuleSet {
        self.until(|record| record.applied.get(number - 1).cloned()).await
    }
}

impl Drop for RecordingGuest {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Record ===

impl Record {
    fn change(&mut self, change: ContainerChange) {
        self.container_streams.retain(|stream| stream.send(Ok(change.clone())).is_ok());
        self.containers.insert(change.container_id.clone(), change);
    }

    fn take(&mut self, rules: RuleSet, digest: Digest) {
        let generation = rules.generation.0;
        self.in_force.insert(rules.target.clone(), (generation, digest));
        let named = |change: &&ContainerChange| change.target == Some(rules.target.clone().into());
        let registered: Vec<_> = self.containers.values().filter(named).cloned().collect();
        for mut change in registered {
            change.state = ContainerState::Registered.into();
            change.generation = generation;
            change.digest = digest.0.into();
            self.change(change);
        }
        self.applied.push(rules);
        self.applied_at = Some(Instant::now());
    }
}

// === impl Shared ===

impl Shared {
    fn serve(&self, path: &Path, keys: Option<&Keys>) -> JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        let server = Server::builder().add_service(GuestServer::new(self.clone()));
        let Some(keys) = keys else {
            let incoming = UnixListenerStream::new(listener);
            return tokio::spawn(async { server.serve_with_incoming(incoming).await.unwrap() });
        };
        let obeyed = RelayKeys::new(keys.obeyed.iter().copied()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&keys.guest, obeyed)));
        let shared = self.clone();
        tokio::spawn(async move {
            // Ends with the server: nobody listens then.
            let (admitted, incoming) = mpsc::channel(1);
            tokio::select! {
                served = server.serve_with_incoming(ReceiverStream::new(incoming)) => served.unwrap(),
                () = shared.admit(listener, acceptor, admitted) => {}
            }
        })
    }

    /// Accepts relays one by one.
    async fn admit(
        self,
        listener: UnixListener,
        acceptor: TlsAcceptor,
        admitted: mpsc::Sender<io::Result<DuplexStream>>,
    ) {
        // Dropped at the end, and every connection with it.
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let came = Instant::now();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            self.update(|record| record.greeted.push((came, Instant::now())));
            let (mut plain, server) = duplex(DUPLEX_BYTES);
            connections.spawn(async move { copy_bidirectional(&mut stream, &mut plain).await });
            admitted.send(Ok(server)).await.unwrap();
        }
    }

    fn update<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let result = change(&mut self.record.lock().unwrap());
        self.changed.send_replace(());
        result
    }
}

#[tonic::async_trait]
impl Guest for Shared {
    type WatchEventsStream = BoxStream<pb::Event>;
    type WatchContainersStream = BoxStream<ContainerChange>;
    type IndexStream = BoxStream<pb::IndexEntry>;

    async fn handshake(&self, _: Request<pb::HandshakeRequest>) -> Reply<pb::HandshakeReply> {
        let (boot_id, version, silent) = self.update(|record| {
            record.handshakes += 1;
            (record.boot_id.clone(), record.version.clone(), record.silent)
        });
        if silent {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(pb::HandshakeReply {
            version,
            features: Feature::ALL.iter().map(ToString::to_string).collect(),
            boot_id,
            kernel_release: "6.12.0".into(),
        }))
    }

    async fn apply(&self, request: Request<Streaming<pb::Chunk>>) -> Reply<pb::Applied> {
        let (mut chunks, mut bytes, mut count) = (request.into_inner(), Vec::new(), 0);
        while let Some(chunk) = chunks.next().await {
            bytes.extend(chunk?.data);
            count += 1;
        }
        let envelope = pb::Envelope::decode(&*bytes).unwrap();
        let rules = wire::decode(&envelope.payload)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let digest = Digest::of(&envelope.payload);
        let applied = pb::Applied {
            target: Some(rules.target.clone().into()),
            generation: rules.generation.0,
            digest: digest.0.into(),
            bound: true,
            ..pb::Applied::default()
        };
        self.update(|record| {
            record.chunks = count;
            match &record.refuse {
                Some(reason) => Err(Status::invalid_argument(reason)),
                None => {
                    record.take(rules, digest);
                    Ok(Response::new(applied))
                }
            }
        })
    }

    async fn remove(&self, _: Request<pb::RemoveRequest>) -> Reply<pb::RemoveReply> {
        Err(Status::unimplemented("the relay sends no Remove"))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Reply<pb::StatusReply> {
        let record = self.record.lock().unwrap();
        let targets =
            record.in_force.iter().map(|(target, (generation, digest))| pb::TargetStatus {
                target: Some(target.clone().into()),
                generation: *generation,
                digest: digest.0.into(),
                ..pb::TargetStatus::default()
            });
        let (posture, reason) = match record.posture {
            (pb::PostureState::Unspecified, _) => (pb::PostureState::Enforcing, ""),
            posture => posture,
        };
        Ok(Response::new(pb::StatusReply {
            posture: posture.into(),
            reason: reason.into(),
            targets: targets.collect(),
            ..pb::StatusReply::default()
        }))
    }

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Reply<Self::WatchEventsStream> {
        let since = request.into_inner().since;
        let (sender, receiver) = mpsc::unbounded_channel();
        self.update(|record| {
            record.since.push(since);
            for event in record.events.iter().filter(|event| event.sequence > since) {
                sender.send(Ok(event.clone())).unwrap();
            }
            record.event_streams.push(sender);
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver))))
    }

    async fn watch_containers(
        &self,
        _: Request<pb::WatchContainersRequest>,
    ) -> Reply<Self::WatchContainersStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.update(|record| {
            for change in record.containers.values() {
                sender.send(Ok(change.clone())).unwrap();
            }
            record.container_streams.push(sender);
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver))))
    }

    async fn index(&self, _: Request<pb::IndexRequest>) -> Reply<Self::IndexStream> {
        Err(Status::unimplemented("the relay asks for no index yet"))
    }
}
