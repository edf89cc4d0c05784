// SPDX-License-Identifier: Apache-2.0
//! Where a container waits until its rules are in force.
//!
//! Requests of the runtime flow in over a UNIX socket, verdicts flow out ([`lifecycle`]). Only root
//! in the agent's own namespaces is listened to. The gate decides nothing but the end of the wait:
//! at its deadline a container is refused, unless its namespace may start without rules.

mod peer;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};
use tracing::Instrument as _;

use crate::{
    containers::{ContainerId, Init, Role, exit},
    lifecycle::{self, Answer, Call, InvalidFrame, NOT_READY, Reply, Step, VERSION},
    posture::Posture,
    reason,
    registry::{Arrival, Permit, Refusal, Registry, Verdict},
    retry,
};

/// How long a peer may take to send its request: it has it at hand when it connects.
const READ_DEADLINE: Duration = Duration::from_secs(2);

/// What is kept of the deadline for the registry to end a wait: an install that is under way, or one
/// without rules, under emulation.
const GRACE: Duration = Duration::from_millis(800);

/// What is kept of it for the peer to take its answer of some hundred bytes.
const ANSWER: Duration = Duration::from_millis(200);

/// Requests at once: every container of a pod and an exec for each, with room.
const MAX_CONNECTIONS: usize = 128;

/// The gate.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Where containers are registered.
    pub registry: Registry,
    /// What the agent promises.
    pub posture: watch::Receiver<Posture>,
    /// From a request to its answer; nearly all of it is a container's wait for its rule set.
    pub deadline: Duration,
    /// Namespaces whose containers start without rules when the deadline passes.
    pub fail_open: Vec<String>,
}

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
#[error("the lifecycle socket `{path}`")]
pub struct BindError {
    path: PathBuf,
    source: io::Error,
}

/// Opens the gate's socket, in a directory that only root enters.
///
/// # Errors
/// If the directory or the socket cannot be made.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let bind = || {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|source| BindError { path: path.to_owned(), source })
}

// === impl Gate ===

impl Gate {
    /// Serves requests until the future is dropped.
    ///
    /// # Errors
    /// If the socket does not accept any more.
    pub async fn serve(self, listener: UnixListener) -> io::Result<()> {
        let gate = Arc::new(self);
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let accept = || listener.accept();
            let (stream, _) = retry::until_done("accepting at the gate", accept).await?;
            let gate = Arc::clone(&gate);
            let serve = async move {
                gate.talk(stream).await;
                drop(slot);
            };
            tokio::spawn(serve.instrument(tracing::info_span!("gate")));
        }
    }

    async fn talk(&self, mut stream: UnixStream) {
        let budget = Budget::new(self.deadline);
        let verdict = timeout_at(budget.verdict, self.judge(&mut stream, budget)).await;
        let late = |_| Err("the agent is busy and did not decide in time".to_owned());
        let answer = match verdict.unwrap_or_else(late) {
            Ok(permit) => Answer::Proceed {
                generation: permit.in_force.generation.0,
                digest: permit.in_force.digest.to_string(),
            },
            Err(reason) => {
                tracing::warn!(reason, "refused");
                Answer::Refuse { reason }
            }
        };
        let sent = match lifecycle::encode(&Reply { version: VERSION, answer }) {
            Ok(frame) => timeout_at(budget.answer, stream.write_all(&frame)).await,
            Err(error) => return tracing::error!(%error, "an answer is too long"),
        };
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!("the peer did not take its answer");
        }
    }

    async fn judge(&self, stream: &mut UnixStream, budget: Budget) -> Verdict {
        peer::check(stream).map_err(|error| reason::of(&error))?;
        let call = timeout(READ_DEADLINE, read(stream)).await;
        let call = call.map_err(|_| "the request did not arrive in time".to_owned())?;
        let call = call.map_err(|error| reason::of(&error))?;
        self.check_posture(budget.rules).await?;
        let Call { id, step } = call;
        let stopped = |error| reason::of(&error);
        match step {
            Step::Create { process, rootfs, annotations } => {
                let role = Role::of(&annotations).map_err(|error| reason::of(&error))?;
                let init = Init::verify(&process).map_err(|error| reason::of(&error))?;
                let arrival = Arrival { id, role, init, rootfs, until: budget.rules };
                self.create(arrival, stream).await
            }
            Step::Start => self.registry.started(id).await.map_err(stopped)?,
            Step::Exec(process) => {
                let process = Init::verify(&process).map_err(|error| reason::of(&error))?;
                self.registry.join(id, process).await.map_err(stopped)?
            }
            Step::Exit => self.registry.exited(id, None).await.map_err(stopped).map(|()| noted()),
            Step::Remove => self.registry.removed(id).await.map_err(stopped).map(|()| noted()),
            Step::Ready => Ok(noted()),
        }
    }

    /// A container may come before the agent is ready, and waits for that too.
    async fn check_posture(&self, deadline: Instant) -> Result<(), Refusal> {
        let mut posture = self.posture.clone();
        let settled = posture.wait_for(Posture::is_settled);
        match timeout_at(deadline, settled).await {
            Ok(Ok(posture)) if posture.enforces() => Ok(()),
            Ok(Ok(posture)) => Err(posture.reason()),
            Ok(Err(_)) => Err("the agent ends".into()),
            Err(_) => Err(NOT_READY.into()),
        }
    }

    async fn create(&self, arrival: Arrival, stream: &mut UnixStream) -> Verdict {
        let (id, init, until) = (arrival.id.clone(), arrival.init.clone(), arrival.until);
        let may_fail_open = self.fail_open.contains(&arrival.role.target().namespace);
        let verdict = self.registry.announce(arrival).await;
        let mut verdict = verdict.map_err(|error| reason::of(&error))?;
        let in_time = tokio::select! {
            verdict = timeout_at(until, &mut verdict) => verdict.ok(),
            () = hung_up(stream) => None,
        };
        let verdict = match in_time {
            Some(verdict) => verdict,
            None => {
                let late = Instant::now() >= until;
                let given_up = self.registry.give_up(id.clone(), may_fail_open && late).await;
                given_up.map_err(|error| reason::of(&error))?;
                // As long as there is time for a verdict: `talk` sees to that.
                verdict.await
            }
        };
        let permit = verdict.map_err(|_| "another request took its place".to_owned())??;
        self.watch_exit(id, init, &permit);
        Ok(permit)
    }

    /// Watches the ends of the containers that an agent before this one let through.
    pub async fn watch_recovered(self) {
        // An agent that never enforces has none.
        for (id, init, permit) in self.registry.recovered().await.unwrap_or_default() {
            self.watch_exit(id, init, &permit);
        }
    }

    /// Tells the registry when the container is over, also if the runtime does not.
    fn watch_exit(&self, id: ContainerId, init: Init, permit: &Permit) {
        let registry = self.registry.clone();
        let (number, cgroup) = (permit.number, permit.cgroup.clone());
        let span = tracing::info_span!("exit", container = %id);
        let watch = async move {
            let ended = || exit::ended(&init);
            if let Err(error) = retry::until_done("watching a process", ended).await {
                return tracing::error!(%error, "its end cannot be watched");
            }
            // A registry that is gone needs no telling.
            let _ = registry.exited(id.clone(), Some(number)).await;
            if let Some(cgroup) = cgroup {
                let emptied = || exit::emptied(&cgroup);
                if let Err(error) = retry::until_done("watching a cgroup", emptied).await {
                    return tracing::error!(%error, "its cgroup cannot be watched");
                }
            }
            let _ = registry.emptied(id, number).await;
        };
        tokio::spawn(watch.instrument(span));
    }
}

/// When each step of a request ends. They share one deadline, and none begins anew.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Rules are no longer waited for.
    rules: Instant,
    /// There is a verdict.
    verdict: Instant,
    /// The peer has it.
    answer: Instant,
}

// === impl Budget ===

impl Budget {
    fn new(deadline: Duration) -> Self {
        let answer = Instant::now() + deadline;
        // Of a short one, half is still a wait for rules.
        let verdict = answer - ANSWER.min(deadline / 10);
        Self { rules: verdict - GRACE.min(deadline * 2 / 5), verdict, answer }
    }
}

/// The answer to what needs no permission.
fn noted() -> Permit {
    Permit { number: 0, in_force: crate::registry::InForce::default(), cgroup: None }
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the request ended early: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] InvalidFrame),
}

async fn read(stream: &mut UnixStream) -> Result<Call, ReadError> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; lifecycle::body_length(prefix)?];
    stream.read_exact(&mut body).await?;
    Ok(lifecycle::decode_request(&body)?)
}

/// Returns when the peer is gone: nobody would take the verdict. A peer that sends more than its
/// request is not listened to either.
async fn hung_up(stream: &mut UnixStream) {
    let mut byte = [0; 1];
    // End, data and error all mean the same here.
    let _ = stream.read(&mut byte).await;
}
