// SPDX-License-Identifier: Apache-2.0
//! The daemon: puts the parts together, and takes them apart on SIGTERM.
//!
//! One thread loads the programs, proves them and then owns the registry; the rest are async
//! tasks. If the programs cannot be loaded or proved, the agent stays and refuses: a guest without
//! an agent would say less. So does one that no relay's key is configured for. Links and maps are
//! pinned, so enforcement goes on after it.

use std::{collections::BTreeSet, path::PathBuf, thread, time::Duration};

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
};
use tracing::Instrument as _;
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    args::RunArgs,
    check,
    containers::Cgroup,
    events::{self, Drops, Numbers, Source},
    gate::{self, Gate},
    heap, identify,
    loader::{self, Loaded},
    maps::Maps,
    memory, mounts, notify,
    posture::{Change, Loss, Standing, Unfit, kernel, self_test},
    reason,
    registry::{self, Inbox},
    server::{self, GuestService, ListenError, Listener},
    trust::{self, Trust, TrustConfig, TrustError},
};

/// Workers of the runtime: a guest has one or two processors, and the work is waiting.
const WORKERS: usize = 2;

/// How long calls may go on after SIGTERM: systemd kills after 90 s, Kata does not wait at all.
const DRAIN: Duration = Duration::from_secs(5);

/// Descriptors: one for each file that is held by identity, of which a search may find 16,384.
const MAX_DESCRIPTORS: u64 = 65_536;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If a socket cannot be opened or a part fails.
pub fn run(args: RunArgs) -> anyhow::Result<()> {
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .with(args.log.clone())
        .init();
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let result = runtime.block_on(serve(args));
    // Whatever still runs has had its time.
    runtime.shutdown_background();
    result
}

/// Without it the agent works, and holds fewer files: what it cannot hold is a rule's residue.
fn raise_descriptors() {
    let most = Some(MAX_DESCRIPTORS);
    let limit = Rlimit { current: most, maximum: most };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of descriptors cannot be raised");
    }
}

async fn serve(args: RunArgs) -> anyhow::Result<()> {
    let RunArgs {
        vsock_port,
        listen,
        relay_key: relay_keys,
        guest_key,
        insecure_no_tls,
        lifecycle_socket,
        pins,
        gate_deadline: deadline,
        fail_open_namespace: fail_open,
        exempt_cgroup,
        hooks,
        log: _,
    } = args;
    if let Some(Err(error)) = hooks.map(|hooks| check::hooks(&hooks)) {
        tracing::error!(%error, "no container of a kata-agent will pass the gate");
    }
    let (ends, shutdown) = watch::channel(false);
    let stop = stop(ends)?;
    let (door, distrust) =
        match trust::establish(TrustConfig { relay_keys, guest_key, insecure_no_tls }) {
            Ok(trust) => (Some((open(listen, vsock_port)?, trust)), None),
            Err(error) => (None, Some(error)),
        };
    let socket = gate::bind(&lifecycle_socket)?;
    let (registry, inbox) = registry::channel();
    let (standing, posture) = Standing::new();
    let (source, source_later) = oneshot::channel();
    let (events, collector) = events::channel(registry.clone(), standing.clone());
    let owner = KernelThread { distrust, pins, exempt_cgroup, standing, source, inbox };
    thread::Builder::new()
        .name("kernel".into())
        .spawn(|| owner.run())
        .context("starting the kernel's thread")?;
    let gate = Gate { registry: registry.clone(), posture: posture.clone(), deadline, fail_open };
    tokio::spawn(gate.clone().watch_recovered().instrument(tracing::info_span!("takeover")));
    tokio::spawn(notify::follow(posture.clone()).instrument(tracing::info_span!("notify")));
    let (questions, envelopes) = Default::default();
    let service = GuestService { registry, posture, events, questions, envelopes, shutdown };
    let serve = serve_relays(service, door, stop.clone());
    tokio::select! {
        result = stop.clone().unless(gate.serve(socket)) => result.context("the gate")?,
        () = collector.run(source_later).instrument(tracing::info_span!("events")) => {}
        result = serve => result.context("serving the relay")?,
        () = stop.drained() => {}
    }
    tracing::info!("stopped; the programs stay in the kernel");
    Ok(())
}

/// Where relays connect.
fn open(listen: Option<PathBuf>, vsock_port: u32) -> Result<Listener, ListenError> {
    match listen {
        Some(path) => Listener::unix(&path),
        None => Listener::vsock(vsock_port),
    }
}

/// Serves nobody if there is nobody to trust.
async fn serve_relays(
    service: GuestService,
    door: Option<(Listener, Trust)>,
    stop: Stop,
) -> Result<(), tonic::transport::Error> {
    match door {
        Some(door) => server::serve(service, door, stop.wait()).await,
        None => {
            stop.wait().await;
            Ok(())
        }
    }
}

/// Everything that is done on the thread that owns the kernel's tables.
struct KernelThread {
    distrust: Option<TrustError>,
    pins: PathBuf,
    exempt_cgroup: Vec<String>,
    standing: Standing,
    source: oneshot::Sender<Source>,
    inbox: Inbox,
}

// === impl KernelThread ===

impl KernelThread {
    fn run(mut self) {
        let standing = self.standing.clone();
        match self.bring_up() {
            Ok((maps, source, mut losses)) => self.inbox.run(maps, |loss| {
                losses.extend(loss);
                standing.change(Change::Enforces(losses));
                // Fails if the agent ends already.
                let _ = self.source.send(source);
            }),
            Err(unfit) => standing.change(Change::Refuses(unfit.causes())),
        }
    }

    fn bring_up(&mut self) -> Result<(Maps, Source, BTreeSet<Loss>), Unfit> {
        if let Some(error) = self.distrust.take() {
            return Err(error.into());
        }
        mounts::prepare(&self.pins)?;
        if let Err(error) = identify::shorten_leases() {
            tracing::warn!(%error, "leases keep files from being held for longer than a second");
        }
        let Loaded { mut maps, ring, counters, journal, names_kept } = self.load()?;
        let not_exempted = self.exempt_cgroup.iter().filter_map(|path| exempt(&mut maps, path));
        let mut losses: BTreeSet<_> = not_exempted.collect();
        let spared = memory::spare_from_oom();
        losses.extend(spared.err().map(|error| Loss::NotSpared { why: error.to_string() }));
        losses.extend((!names_kept).then_some(Loss::NamesNotKept));
        let self_test = self_test::prove(&mut maps)?;
        heap::trim();
        let (drops, numbers) = (Drops(counters), Numbers(journal));
        Ok((maps, Source { ring, drops, numbers, self_test }, losses))
    }

    /// What is in force is of the same boot: an agent before this one has checked the kernel.
    fn load(&self) -> Result<Loaded, Unfit> {
        if loader::are_in_force(&self.pins)? {
            self.standing.change(Change::TakesOver);
            return loader::take_over(&self.pins).map_err(Unfit::TakeOver);
        }
        let symbols = kernel::check()?;
        Ok(loader::load(&self.pins, symbols.rename_lock)?)
    }
}

/// What cannot be exempted stays under the guard, which refuses it.
fn exempt(maps: &mut Maps, path: &str) -> Option<Loss> {
    let exempted = match Cgroup::at(path) {
        Ok(Some(cgroup)) => maps.exempt_cgroup(cgroup.id).map_err(|error| reason::of(&error)),
        Ok(None) => Err("the root of the hierarchy holds everybody".into()),
        Err(error) => Err(reason::of(&error)),
    };
    exempted.err().map(|why| Loss::NotExempted { cgroup: path.into(), why })
}

/// The end of the agent, for those who wait for it.
#[derive(Clone)]
struct Stop(watch::Receiver<bool>);

/// Listens for the signals that end the agent.
fn stop(ends: watch::Sender<bool>) -> anyhow::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let stop = Stop(ends.subscribe());
    let listen = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        ends.send_replace(true);
    };
    tokio::spawn(listen.instrument(tracing::info_span!("signals")));
    Ok(stop)
}

// === impl Stop ===

impl Stop {
    async fn wait(mut self) {
        // A sender that is gone means the end too.
        let _ = self.0.wait_for(|ends| *ends).await;
    }

    /// What a part yields that ends by itself; one that is stopped is dropped and yields nothing.
    async fn unless<T>(self, part: impl Future<Output = T>) -> T {
        tokio::select! {
            result = part => result,
            () = self.wait() => std::future::pending().await,
        }
    }

    async fn drained(self) {
        self.wait().await;
        tokio::time::sleep(DRAIN).await;
    }
}
