// SPDX-License-Identifier: Apache-2.0
//! The relay as a whole: its tasks, the channels between them, and their end.
//!
//! ```text
//! policy directory --batches--> reconciler --desired--> sessions --parcels--> guests
//!                                   ^--------containers----'  '--reports--> hub --> file, API
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use session_tls::{ReadKeyError, read};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::{
    api::{self, BindError, Listener},
    events::{Hub, Sink, SinkError},
    pipeline::Defaults,
    reconcile::{self, Outputs, Sources},
    sandbox::Address,
    session::{self, Session, Told, Turns},
    status::{SandboxView, SandboxViews, Views},
    stop::StopSender,
    transport::Identity,
    watch::{Batch, PolicyDir, WatchError},
};

/// Messages between tasks; each end is served at once, so that a queue hides no backlog.
const QUEUE: usize = 64;

/// For events under way and calls of operators, within the ten seconds that service managers give.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// What a relay works on.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of policies, pods and namespaces.
    pub policy_dir: PathBuf,
    /// Guests.
    pub sandboxes: Vec<Address>,
    /// The relay's private key; none to speak with guests in the clear, in tests.
    pub key: Option<PathBuf>,
    /// Socket of the API.
    pub api: PathBuf,
    /// Where events are written; none for nowhere.
    pub events: Option<EventsTo>,
    /// What holds where policies say nothing.
    pub defaults: Defaults,
}

/// Where events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsTo {
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// Why a relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The policy directory.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The socket of the API.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The file of events.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The relay's key.
    #[error(transparent)]
    Key(#[from] ReadKeyError),
    /// A task that never ends has ended.
    #[error("{0} ended; see the log")]
    Ended(&'static str),
}

struct Tasks {
    set: JoinSet<&'static str>,
    stop: StopSender,
}

/// Runs until `stopped` resolves.
///
/// # Errors
/// If it cannot start, or cannot go on.
pub async fn run(config: Config, stopped: impl Future<Output = ()>) -> Result<(), RunError> {
    let Config { policy_dir, sandboxes, key, api, events, defaults } = config;
    let identity = identity(key.as_deref())?;
    let listener = Listener::bind(&api)?;
    let sink = match events {
        Some(EventsTo::Stdout) => Some(Sink::stdout()?),
        Some(EventsTo::File(path)) => Some(Sink::file(&path)?),
        None => None,
    };
    let (lines, drained) = sink.map(|sink| (sink.lines, sink.drained)).unzip();
    let hub = Hub::new(lines);
    let (batches, batches_out) = mpsc::channel(QUEUE);
    let directory = PolicyDir::follow(&policy_dir, batches)?;

    let mut tasks = Tasks::new();
    let views = tasks.spawn_sessions((sandboxes, identity), &hub, (batches_out, defaults));
    tasks.spawn_api(listener, views, hub);
    info!(api = %api.display(), policies = %policy_dir.display(), "running");

    let outcome = tokio::select! {
        () = stopped => Ok(()),
        ended = tasks.set.join_next() => Err(RunError::Ended(match ended {
            Some(Ok(name)) => name,
            Some(Err(_)) | None => "a task",
        })),
    };
    info!("stopping");
    drop(directory);
    tasks.end().await;
    if let Some(drained) = drained
        && timeout(DRAIN_DEADLINE, drained).await.is_err()
    {
        warn!("events are left unwritten");
    }
    outcome
}

fn identity(key: Option<&Path>) -> Result<Option<Identity>, ReadKeyError> {
    let Some(path) = key else {
        warn!("--insecure-no-tls: whoever answers for a guest is believed; for tests only");
        return Ok(None);
    };
    let key = read(path)?;
    info!(pin = %key.fingerprint(), "this relay's key");
    Ok(Some(Identity::new(&key)))
}

// === impl Tasks ===

impl Tasks {
    fn new() -> Self {
        Self { set: JoinSet::new(), stop: StopSender::new() }
    }

    fn spawn_sessions(
        &mut self,
        (sandboxes, identity): (Vec<Address>, Option<Identity>),
        hub: &Hub,
        (batches, defaults): (mpsc::Receiver<Batch>, Defaults),
    ) -> Views {
        let (containers, containers_out) = mpsc::channel(QUEUE);
        let policies = watch::Sender::new(Arc::default());
        let mut views = Views { sandboxes: Vec::new(), policies: policies.subscribe() };
        let mut desired_of = BTreeMap::new();
        let (turns, told) = (Turns::default(), Told::default());
        for address in sandboxes.into_iter().collect::<BTreeSet<_>>() {
            let desired = watch::Sender::new(Arc::default());
            let view = watch::Sender::new(SandboxView::new(address.clone()));
            views
                .sandboxes
                .push(SandboxViews { session: view.subscribe(), desired: desired.subscribe() });
            let session = Session {
                address: address.clone(),
                identity: identity.clone(),
                turns: turns.clone(),
                told: told.clone(),
                desired: desired.subscribe(),
                containers: containers.clone(),
                view,
                hub: hub.clone(),
            };
            let span = info_span!("session", sandbox = %address);
            self.spawn("a session", session::run(session).instrument(span));
            desired_of.insert(address, desired);
        }
        if desired_of.is_empty() {
            // The reconciler ends when no session can report any more.
            warn!("no --sandbox is given: policies are checked and shown, nothing is sent");
        }
        let outputs = Outputs { desired: desired_of, policies };
        let sources = Sources { batches, containers: containers_out };
        let reconciler = async move {
            let _held = containers;
            reconcile::run(sources, defaults, outputs).await;
        };
        self.spawn("the reconciler", reconciler.instrument(info_span!("reconciler")));
        views
    }

    fn spawn_api(&mut self, listener: Listener, views: Views, hub: Hub) {
        let stop = self.stop.subscribe();
        let serve = async move {
            if let Err(error) = api::serve(listener, views, hub, stop).await {
                error!(error = &error as &dyn std::error::Error, "the API ends");
            }
        };
        self.set.spawn(
            async move {
                serve.await;
                "the API"
            }
            .instrument(info_span!("api")),
        );
    }

    /// Spawns a task that is dropped when everything stops.
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.subscribe();
        self.set.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.wait() => {}
            }
            name
        });
    }

    async fn end(mut self) {
        self.stop.stop();
        let all = async { while self.set.join_next().await.is_some() {} };
        if timeout(DRAIN_DEADLINE, all).await.is_err() {
            warn!("some tasks do not stop, leaving them");
            self.set.shutdown().await;
        }
    }
}
