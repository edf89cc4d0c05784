// SPDX-License-Identifier: Apache-2.0
//! The service over a real socket, and the code of each error.

mod strangers;

use std::{future::pending, path::Path};

use hyper_util::rt::TokioIo;
use kadapter_proto::guest::v1::{
    ContainerState, Envelope, PostureState, guest_client::GuestClient,
};
use policy_model::RuleSet;
use prost::Message as _;
use tokio::net::UnixStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use tokio_stream::StreamExt as _;

use super::*;
use crate::{
    events,
    fixtures::{Waiting, accepted, arrival, registry, rules, target, within},
    maps,
    posture::{Cause, Loss, Standing},
    registry::double::KernelDouble,
};

struct Rig {
    registry: Registry,
    kernel: KernelDouble,
    posture: watch::Sender<Posture>,
    ends: watch::Sender<bool>,
    channel: Channel,
    _directory: tempfile::TempDir,
}

/// The service over a real socket, with a registry on the double.
async fn rig(posture: Posture) -> Rig {
    let (registry, kernel) = registry();
    rig_on(registry, kernel, posture).await
}

async fn rig_on(registry: Registry, kernel: KernelDouble, posture: Posture) -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("guest.sock");
    let (posture, watched) = watch::channel(posture);
    let (ends, shutdown) = watch::channel(false);
    let (events, collector) = events::channel(registry.clone(), Standing::new().0);
    // No ring ever comes: subscribers are served all the same.
    let (_, ring) = tokio::sync::oneshot::channel();
    tokio::spawn(collector.run(ring));
    let questions = Questions::default();
    let registry_of = registry.clone();
    let service = GuestService {
        registry: registry_of,
        posture: watched,
        events,
        questions,
        envelopes: Envelopes::default(),
        shutdown,
    };
    tokio::spawn(serve(service, (Listener::unix(&socket).unwrap(), Trust::Anybody), pending()));
    let channel = connect(&socket).await;
    Rig { registry, kernel, posture, ends, channel, _directory: directory }
}

async fn connect(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://guest").connect_with_connector(connector).await.unwrap()
}

impl Rig {
    fn client(&self) -> GuestClient<Channel> {
        GuestClient::new(self.channel.clone())
    }

    async fn apply(&self, rules: &RuleSet) -> Result<Applied, Status> {
        let payload = wire::encode(rules);
        self.send(Envelope { payload, signatures: Vec::new() }.encode_to_vec()).await
    }

    /// The health service comes to say so.
    async fn health_becomes(&self, expected: ServingStatus) {
        let mut health = HealthClient::new(self.channel.clone());
        let service = "kadapter.guest.v1.Guest".to_owned();
        let watch = health.watch(HealthCheckRequest { service }).await;
        let mut watch = watch.unwrap().into_inner();
        while within(watch.message()).await.unwrap().unwrap().status() != expected {}
    }

    /// Path, size and link text of what is found.
    async fn index(&self, id: &str, names: &[&str]) -> Result<Vec<(String, u64, String)>, Status> {
        let names = names.iter().map(ToString::to_string).collect();
        let request = IndexRequest { container_id: id.into(), names };
        let entries = self.client().index(request).await?.into_inner();
        within(entries.map(|entry| entry.map(|it| (it.path, it.size, it.link))).collect()).await
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<Applied, Status> {
        let chunks: Vec<_> = bytes.chunks(10).map(|data| Chunk { data: data.into() }).collect();
        self.client().apply(tokio_stream::iter(chunks)).await.map(Response::into_inner)
    }
}

#[tokio::test]
async fn a_rule_set_in_chunks_is_applied_and_shown_in_the_status() {
    let rig = rig(Posture::Enforcing).await;
    let denials = maps::Denials { container: 0, cause: maps::Cause::Place, count: 9 };
    rig.kernel.with(|state| {
        state.counters.fail_closed = 9;
        state.counters.undecided = vec![denials];
    });
    let applied = rig.apply(&rules(2)).await.unwrap();
    let digest = accepted(rules(2)).digest.0.to_vec();
    assert_eq!((applied.generation, applied.bound, &applied.digest), (2, false, &digest));
    assert!(applied.took_ns > 0);
    let status = rig.client().status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.posture(), status.reason.as_str()), (PostureState::Enforcing, ""));
    let [held] = status.targets.as_slice() else { panic!("{status:?}") };
    assert_eq!((held.generation, &held.digest, held.container_id.as_str()), (2, &digest, ""));
    assert_eq!(held.target, Some(target().into()));
    let counters = status.counters.unwrap();
    assert_eq!(counters.fail_closed, 9);
    let place = kadapter_proto::guest::v1::Undecided {
        cause: kadapter_proto::guest::v1::Cause::Place.into(),
        count: 9,
    };
    assert_eq!(counters.undecided, [place], "of no container");
}

#[tokio::test]
async fn streams_of_an_agent_that_refuses_stay() {
    let (registry, inbox) = crate::registry::channel();
    drop(inbox);
    let cause = Cause { reason: "no BTF".into(), remedy: "build it" };
    let rig = rig_on(registry, KernelDouble::default(), Posture::Refusing(vec![cause])).await;
    let containers = rig.client().watch_containers(WatchContainersRequest {}).await.unwrap();
    let events = rig.client().watch_events(WatchEventsRequest { since: 0 }).await.unwrap();
    let (mut containers, mut events) = (containers.into_inner(), events.into_inner());
    let ended = async {
        tokio::select! {
            message = containers.message() => drop(message),
            message = events.message() => drop(message),
        }
    };
    let moment = Duration::from_millis(200);
    assert!(tokio::time::timeout(moment, ended).await.is_err(), "one of them ended");
    rig.ends.send_replace(true);
    assert!(within(containers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_handshake_names_what_is_built() {
    let rig = rig(Posture::Enforcing).await;
    let request = HandshakeRequest { version: "0.1.0".into(), features: Vec::new() };
    let reply = rig.client().handshake(request).await.unwrap().into_inner();
    assert!(reply.features.contains(&"object.path.identity".to_owned()));
    assert!(!reply.boot_id.is_empty() && !reply.kernel_release.is_empty());
}

#[tokio::test]
async fn errors_carry_the_code_of_whose_fault_they_are() {
    let rig = rig(Posture::Enforcing).await;
    assert_eq!(rig.send(vec![0xff; 20]).await.unwrap_err().code(), Code::InvalidArgument);
    rig.apply(&rules(2)).await.unwrap();
    let stale = rig.apply(&rules(1)).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition);
    assert!(stale.message().contains("generation 1") && stale.message().contains("generation 2"));
    let other = policy_model::Target { pod: "other".into(), ..target() };
    let unknown = RemoveRequest { target: Some(other.into()) };
    assert_eq!(rig.client().remove(unknown).await.unwrap_err().code(), Code::NotFound);
    let missing = RemoveRequest { target: None };
    assert_eq!(rig.client().remove(missing).await.unwrap_err().code(), Code::InvalidArgument);
    let known = RemoveRequest { target: Some(target().into()) };
    rig.client().remove(known).await.unwrap();
}

#[tokio::test]
async fn an_envelope_without_end_is_cut_off() {
    let rig = rig(Posture::Enforcing).await;
    let chunk = Chunk { data: vec![0; 1024 * 1024] };
    let chunks = tokio_stream::iter(std::iter::repeat_n(chunk, 20));
    let error = rig.client().apply(chunks).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}

#[tokio::test]
async fn a_message_or_a_header_that_is_too_large_is_refused_and_the_next_call_is_served() {
    let rig = rig(Posture::Enforcing).await;
    let chunks = tokio_stream::iter([Chunk { data: vec![0; MAX_MESSAGE_BYTES] }]);
    let error = rig.client().apply(chunks).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    rig.client().status(StatusRequest {}).await.unwrap();
    let mut request = Request::new(StatusRequest {});
    let value = "x".repeat(MAX_HEADER_BYTES as usize).parse().unwrap();
    request.metadata_mut().insert("note", value);
    rig.client().status(request).await.unwrap_err();
    let mut request = Request::new(StatusRequest {});
    request.metadata_mut().insert("note", "x".repeat(1024).parse().unwrap());
    rig.client().status(request).await.unwrap();
}

#[tokio::test]
async fn containers_of_now_come_first_then_changes() {
    let rig = rig(Posture::Enforcing).await;
    let process = Waiting::spawn();
    let _verdict = rig.registry.announce(arrival("c1", &process)).await.unwrap();
    let mut changes =
        rig.client().watch_containers(WatchContainersRequest {}).await.unwrap().into_inner();
    let waiting = within(changes.message()).await.unwrap().unwrap();
    assert_eq!((waiting.state(), waiting.target), (ContainerState::Waiting, Some(target().into())));
    rig.apply(&rules(1)).await.unwrap();
    let registered = within(changes.message()).await.unwrap().unwrap();
    assert_eq!((registered.state(), registered.generation), (ContainerState::Registered, 1));
    rig.registry.removed(crate::fixtures::id("c1")).await.unwrap();
    assert_eq!(within(changes.message()).await.unwrap().unwrap().state(), ContainerState::Exited);
    rig.ends.send_replace(true);
    assert!(within(changes.message()).await.unwrap().is_none(), "streams end with the agent");
}

#[tokio::test]
async fn files_are_looked_up_while_the_container_waits_and_while_it_runs() {
    let rig = rig(Posture::Enforcing).await;
    let directory = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(directory.path()).unwrap();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::write(root.join("usr/bin/apt"), "12345").unwrap();
    std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
    let process = Waiting::spawn();
    let rootfs = Some(policy_model::RulePath::new(root.to_str().unwrap()).unwrap());
    let arrival = crate::registry::Arrival { rootfs, ..arrival("c1", &process) };
    let mut verdict = rig.registry.announce(arrival).await.unwrap();
    let found =
        [("/usr/bin/apt".to_owned(), 5, String::new()), ("/bin".into(), 7, "usr/bin".into())];
    assert_eq!(rig.index("c1", &["/usr/bin/apt", "/bin/apt", "/etc/passwd"]).await.unwrap(), found);
    assert!(verdict.try_recv().is_err(), "it waits");
    rig.apply(&rules(1)).await.unwrap();
    rig.registry.started(crate::fixtures::id("c1")).await.unwrap().unwrap();
    assert_eq!(rig.index("c1", &["apt"]).await.unwrap(), found);
}

#[tokio::test]
async fn questions_that_have_no_answer_are_refused_by_code() {
    let rig = rig(Posture::Enforcing).await;
    let code = async |id: &str, name: &str| rig.index(id, &[name]).await.unwrap_err().code();
    assert_eq!(code("c1", "apt").await, Code::NotFound);
    assert_eq!(code("../c1", "apt").await, Code::InvalidArgument);
    let mut process = Waiting::spawn();
    let _verdict = rig.registry.announce(arrival("c1", &process)).await.unwrap();
    assert_eq!(code("c1", "/usr/../etc").await, Code::InvalidArgument);
    process.end();
    assert_eq!(code("c1", "apt").await, Code::FailedPrecondition);
    rig.registry.give_up(crate::fixtures::id("c1"), false).await.unwrap();
    assert_eq!(code("c1", "apt").await, Code::FailedPrecondition);
    rig.posture.send_replace(Posture::Starting);
    assert_eq!(code("c1", "apt").await, Code::Unavailable);
}

#[tokio::test]
async fn an_agent_that_refuses_says_so_in_status_health_and_apply() {
    let cause = Cause { reason: "no BPF".into(), remedy: "boot with it" };
    let rig = rig(Posture::Refusing(vec![cause])).await;
    let status = rig.client().status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.posture(), PostureState::Refusing);
    assert_eq!(status.reason, "no BPF; boot with it");
    let error = rig.apply(&rules(1)).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::FailedPrecondition, "no BPF; boot with it"));
    rig.health_becomes(ServingStatus::NotServing).await;
}

#[tokio::test]
async fn a_takeover_keeps_rule_sets_waiting_and_a_loss_does_not() {
    let rig = rig(Posture::TakingOver).await;
    rig.health_becomes(ServingStatus::NotServing).await;
    let error = rig.apply(&rules(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("taking over"), "{error}");
    let posture = async || rig.client().status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(posture().await.posture(), PostureState::TakingOver);

    rig.posture.send_replace(Posture::Degraded([Loss::NamesNotKept].into()));
    rig.health_becomes(ServingStatus::Serving).await;
    rig.apply(&rules(1)).await.unwrap();
    let status = posture().await;
    assert_eq!(status.posture(), PostureState::Degraded);
    assert!(status.reason.contains("CONFIG_KALLSYMS_ALL"), "{}", status.reason);
    rig.posture.send_replace(Posture::Enforcing);
    assert_eq!(
        (posture().await.posture(), posture().await.reason),
        (PostureState::Enforcing, "".into())
    );
}
