// SPDX-License-Identifier: Apache-2.0
//! The gate over a real socket: who may speak, how long it waits, what it answers.

use std::collections::BTreeMap;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::{
    args::{Args, Command},
    containers::aside,
    fixtures::{Waiting, accepted, id, registry, rules, within},
    identify,
    lifecycle::{Event, Facts, Request},
    posture::{Cause, Loss},
    registry::{self, REGISTRATION, State, double::KernelDouble},
};

struct Rig {
    socket: PathBuf,
    registry: Registry,
    kernel: KernelDouble,
    posture: watch::Sender<Posture>,
    _directory: tempfile::TempDir,
}

/// A gate over a real socket, whose registry runs on the double.
fn rig(deadline: Duration) -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run/agent.sock");
    let (registry, kernel) = registry();
    let (posture, watched) = watch::channel(Posture::Enforcing);
    let fail_open = vec!["lenient".to_owned()];
    let gate = Gate { registry: registry.clone(), posture: watched, deadline, fail_open };
    tokio::spawn(gate.serve(bind(&socket).unwrap()));
    Rig { socket, registry, kernel, posture, _directory: directory }
}

#[tokio::test]
async fn who_asks_whether_the_agent_enforces_is_told() {
    let rig = rig(SHORT);
    let container = Facts { id: "agent".into(), ..Facts::default() };
    let request = Request { version: VERSION, event: Event::Ready, container };
    assert!(matches!(rig.ask(&request).await, Answer::Proceed { .. }));
    rig.posture.send_replace(Posture::Starting);
    assert_eq!(reason_of(&rig.ask(&request).await), NOT_READY);
    let cause = Cause { reason: "no BTF".into(), remedy: "build it" };
    rig.posture.send_replace(Posture::Refusing(vec![cause]));
    assert!(reason_of(&rig.ask(&request).await).contains("no BTF"));
    assert!(rig.registry.view().borrow().containers.is_empty());
}

const LONG: Duration = Duration::from_secs(30);
/// A part of it is for the registry, also on a machine under load.
const SHORT: Duration = Duration::from_secs(3);

fn create(process: &Waiting, namespace: &str) -> Request {
    let annotations = [
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.container-name", "web"),
        ("io.kubernetes.cri.sandbox-name", "shop-0"),
        ("io.kubernetes.cri.sandbox-namespace", namespace),
    ];
    let annotations: BTreeMap<_, _> =
        annotations.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let pid = Some(process.pid());
    let container = Facts { id: "c1".into(), pid, annotations, ..Facts::default() };
    Request { version: VERSION, event: Event::Create, container }
}

impl Rig {
    async fn ask(&self, request: &Request) -> Answer {
        self.send(&lifecycle::encode(request).unwrap()).await
    }

    async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await.unwrap();
        let mut body = vec![0; lifecycle::body_length(prefix).unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        lifecycle::decode_reply(&body).unwrap()
    }

    async fn state_is(&self, state: State) {
        let mut view = self.registry.view();
        let reached = view.wait_for(|view| {
            view.by_id(&id("c1")).is_some_and(|container| container.state == state)
        });
        within(reached).await.unwrap();
    }
}

fn reason_of(answer: &Answer) -> &str {
    match answer {
        Answer::Refuse { reason } => reason,
        Answer::Proceed { .. } => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn a_container_proceeds_when_its_rules_are_in_force() {
    let rig = rig(LONG);
    let process = Waiting::spawn();
    let request = create(&process, "prod");
    let (answer, ()) = tokio::join!(rig.ask(&request), async {
        rig.state_is(State::Waiting).await;
        rig.registry.apply(accepted(rules(4))).await.unwrap();
    });
    let digest = accepted(rules(4)).digest.to_string();
    assert_eq!(answer, Answer::Proceed { generation: 4, digest });
    rig.kernel.with(|state| assert_eq!(state.labels[0].0, process.pid()));
}

#[tokio::test]
async fn at_the_deadline_a_container_is_refused() {
    let rig = rig(SHORT);
    let answer = rig.ask(&create(&Waiting::spawn(), "prod")).await;
    assert!(reason_of(&answer).contains("no rule set"), "{answer:?}");
    rig.state_is(State::Refused).await;
    rig.kernel.with(|state| assert!(state.labels.is_empty()));
}

#[tokio::test]
async fn at_the_deadline_a_lenient_namespace_starts_without_rules() {
    let rig = rig(SHORT);
    let answer = rig.ask(&create(&Waiting::spawn(), "lenient")).await;
    assert!(matches!(answer, Answer::Proceed { generation: 0, .. }), "{answer:?}");
    assert_eq!(rig.registry.view().borrow().failed_open, 1);
}

#[tokio::test]
async fn a_peer_that_leaves_ends_the_wait_even_in_a_lenient_namespace() {
    let rig = rig(LONG);
    let process = Waiting::spawn();
    let frame = lifecycle::encode(&create(&process, "lenient")).unwrap();
    let mut stream = UnixStream::connect(&rig.socket).await.unwrap();
    stream.write_all(&frame).await.unwrap();
    rig.state_is(State::Waiting).await;
    drop(stream);
    rig.state_is(State::Refused).await;
}

#[tokio::test]
async fn an_agent_that_refuses_says_why_and_one_that_starts_is_waited_for() {
    let rig = rig(LONG);
    rig.posture.send_replace(Posture::Starting);
    let process = Waiting::spawn();
    let request = create(&process, "prod");
    let (answer, ()) = tokio::join!(rig.ask(&request), async {
        rig.posture.send_replace(Posture::TakingOver);
        tokio::task::yield_now().await;
        let cause = Cause { reason: "no BPF".into(), remedy: "boot with it" };
        rig.posture.send_replace(Posture::Refusing(vec![cause]));
    });
    assert_eq!(reason_of(&answer), "no BPF; boot with it");
}

#[tokio::test]
async fn an_agent_that_has_lost_something_lets_containers_through() {
    let rig = rig(LONG);
    rig.posture.send_replace(Posture::Degraded([Loss::EventsLost].into()));
    rig.registry.apply(accepted(rules(1))).await.unwrap();
    let process = Waiting::spawn();
    let answer = rig.ask(&create(&process, "prod")).await;
    assert!(matches!(answer, Answer::Proceed { generation: 1, .. }), "{answer:?}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_the_reason() {
    let rig = rig(LONG);
    let answer = rig.send(&[0, 0, 0, 2, b'{', b'x']).await;
    assert!(reason_of(&answer).contains("cannot be decoded"), "{answer:?}");
    let answer = rig.send(&u32::MAX.to_be_bytes()).await;
    assert!(reason_of(&answer).contains("the protocol allows"), "{answer:?}");
    let process = Waiting::spawn();
    let mut request = create(&process, "prod");
    request.container.annotations.clear();
    assert!(reason_of(&rig.ask(&request).await).contains("container-type"));
    request = create(&process, "prod");
    request.container.mnt_ns = Some(1);
    assert!(reason_of(&rig.ask(&request).await).contains("mount namespace"));
}

#[tokio::test]
async fn a_request_that_does_not_come_to_its_end_is_refused_in_time_and_others_are_served() {
    let rig = rig(LONG);
    let slow = rig.send(&[0, 0, 0, 9, b'{']);
    let broken = rig.send(&[0, 0, 0, 2, b'{', b'x']);
    let started = Instant::now();
    let (slow, broken) = tokio::join!(slow, async {
        let answer = broken.await;
        (answer, started.elapsed())
    });
    assert!(reason_of(&slow).contains("did not arrive in time"), "{slow:?}");
    assert!(started.elapsed() >= READ_DEADLINE);
    assert!(reason_of(&broken.0).contains("cannot be decoded") && broken.1 < READ_DEADLINE);
}

#[tokio::test]
async fn the_end_of_a_container_is_seen_without_the_runtime() {
    let rig = rig(LONG);
    rig.registry.apply(accepted(rules(1))).await.unwrap();
    let mut process = Waiting::spawn();
    let answer = rig.ask(&create(&process, "prod")).await;
    assert!(matches!(answer, Answer::Proceed { generation: 1, .. }), "{answer:?}");
    let start = Request { event: Event::Start, ..create(&process, "prod") };
    assert!(matches!(rig.ask(&start).await, Answer::Proceed { .. }));
    rig.state_is(State::Started).await;
    process.end();
    rig.state_is(State::Exited).await;
    let mut view = rig.registry.view();
    let gone = view.wait_for(|view| view.by_id(&id("c1")).is_some_and(|it| it.slot.is_none()));
    within(gone).await.unwrap();
    let remove = Request { event: Event::Remove, ..create(&process, "prod") };
    assert!(matches!(rig.ask(&remove).await, Answer::Proceed { .. }));
    let mut view = rig.registry.view();
    let gone = view.wait_for(|view| view.containers.is_empty());
    within(gone).await.unwrap();
}

#[tokio::test]
async fn only_root_reaches_the_socket() {
    let rig = rig(LONG);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&rig.socket), 0o600);
    assert_eq!(mode(rig.socket.parent().unwrap()), 0o700);
}

/// The same gate, whose registry is not served: its owner is busy for longer than any request lasts.
fn busy_rig(deadline: Duration) -> (Rig, registry::Inbox) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run/agent.sock");
    let (registry, inbox) = registry::channel();
    let (posture, watched) = watch::channel(Posture::Enforcing);
    let gate = Gate { registry: registry.clone(), posture: watched, deadline, fail_open: vec![] };
    tokio::spawn(gate.serve(bind(&socket).unwrap()));
    let kernel = KernelDouble::default();
    (Rig { socket, registry, kernel, posture, _directory: directory }, inbox)
}

#[tokio::test]
async fn a_busy_owner_holds_no_request_beyond_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(400);
    let (rig, _inbox) = busy_rig(DEADLINE);
    let process = Waiting::spawn();
    for event in [Event::Create, Event::Start, Event::Exec] {
        let started = Instant::now();
        let answer = within(rig.ask(&Request { event, ..create(&process, "prod") })).await;
        assert!(reason_of(&answer).contains("did not decide in time"), "{event:?}: {answer:?}");
        assert!(started.elapsed() < DEADLINE * 4, "{event:?}: {:?}", started.elapsed());
    }
}

#[test]
fn all_that_a_registration_may_take_fits_into_the_default_deadline() {
    use clap::Parser as _;
    let parsed = |argv: &[&str]| Args::try_parse_from(argv).unwrap().command;
    let Command::Run(run) = parsed(&["agent", "run"]) else { unreachable!() };
    let Command::Hook(hook) = parsed(&["agent", "hook", "prestart"]) else { unreachable!() };
    let now = Instant::now();
    let budget = Budget::new(run.gate_deadline);
    // A search has what the others leave.
    let steps = aside::DEADLINE + identify::LEAST + REGISTRATION;
    assert!(budget.rules - now >= steps, "{steps:?}");
    assert!(budget.rules - now - REGISTRATION >= identify::DEADLINE * 9 / 10);
    assert!(budget.rules < budget.verdict && budget.verdict < budget.answer);
    let (now, deadline) = (Instant::now(), Duration::from_secs(2));
    let short = Budget::new(deadline);
    assert!(short.rules - now >= deadline / 2 && short.verdict - short.rules == GRACE);
    assert!(run.gate_deadline < hook.deadline && hook.deadline < Duration::from_secs(10));
}

/// In a process of its own, whose descriptors no other test needs.
#[test]
fn a_guest_without_descriptors_does_not_end_the_gate() {
    const NAME: &str = "gate::tests::a_guest_without_descriptors_does_not_end_the_gate";
    const INSIDE: &str = "KADAPTER_TEST_WITHOUT_DESCRIPTORS";
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(go_without_descriptors());
    }
    let own = std::env::current_exe().unwrap();
    let output =
        std::process::Command::new(own).args(["--exact", NAME]).env(INSIDE, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn go_without_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let (registry, _kernel) = registry();
    let (_posture, watched) = watch::channel(Posture::Enforcing);
    let gate = Gate { registry, posture: watched, deadline: LONG, fail_open: vec![] };
    let mut serving = tokio::spawn(gate.serve(bind(&socket).unwrap()));
    let mut early = UnixStream::connect(&socket).await.unwrap();
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limits }).unwrap();
    assert!(fs::File::open("/dev/null").is_err(), "there are descriptors left");
    let ended = timeout(READ_DEADLINE / 4, &mut serving).await;
    assert!(ended.is_err(), "the gate ended: {ended:?}");
    setrlimit(Resource::Nofile, limits).unwrap();
    early.write_all(&[0, 0, 0, 2, b'{', b'x']).await.unwrap();
    let mut prefix = [0; 4];
    within(early.read_exact(&mut prefix)).await.unwrap();
}
