// SPDX-License-Identifier: Apache-2.0
//! What an init system learns: when the agent is ready, and why it is not.
//!
//! Postures flow in, datagrams flow out to the socket that the environment names, as
//! `sd_notify(3)` says. An agent that refuses never says that it is ready: what is started after it
//! waits, or fails with it. [`wait`] asks for the same at the gate, where there is no such init.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    args::WaitArgs,
    hook::{HookError, exchange},
    lifecycle::{self, Answer, Event, Facts, NOT_READY, Request, VERSION},
    posture::Posture,
    reason,
};

/// Between two tries of [`wait`]: its own part of the time that a guest takes to boot.
const PAUSE: Duration = Duration::from_millis(50);

/// Why the agent is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It refuses, for good.
    #[error("the agent refuses: {0}")]
    Refuses(String),
    /// It may become ready later.
    #[error("the agent is not ready after {after:?}: {reason}")]
    InTime {
        /// How long was waited.
        after: Duration,
        /// What was amiss last.
        reason: String,
    },
}

/// Tells the init system, if there is one that asked, until the agent ends.
pub async fn follow(mut posture: watch::Receiver<Posture>) {
    let Some(init) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match init.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    let address = match address {
        Ok(address) => address,
        Err(error) => return tracing::warn!(%error, "NOTIFY_SOCKET is no address of a socket"),
    };
    loop {
        let text = message(&posture.borrow_and_update());
        let sent = UnixDatagram::unbound()
            .and_then(|socket| socket.send_to_addr(text.as_bytes(), &address));
        if let Err(error) = sent {
            tracing::warn!(%error, "the init system is not told");
        }
        if posture.changed().await.is_err() {
            return;
        }
    }
}

/// One line each: a reason may come from elsewhere.
fn message(posture: &Posture) -> String {
    let status = posture.reason().replace('\n', " ");
    match posture {
        Posture::Enforcing => "READY=1\nSTATUS=enforcing\n".into(),
        Posture::Degraded(_) => format!("READY=1\nSTATUS=enforcing, degraded: {status}\n"),
        Posture::Refusing(_) => format!("STATUS=refusing every container: {status}\n"),
        Posture::Starting | Posture::TakingOver => format!("STATUS={status}\n"),
    }
}

/// Returns once the agent enforces.
///
/// # Errors
/// If it refuses, or the time is over.
pub fn wait(args: &WaitArgs) -> Result<(), NotReady> {
    let started = Instant::now();
    loop {
        let left = args.timeout.saturating_sub(started.elapsed());
        let reason = match ask(args, left.max(PAUSE)) {
            Ok(Answer::Proceed { .. }) => return Ok(()),
            Ok(Answer::Refuse { reason }) if reason != NOT_READY => {
                return Err(NotReady::Refuses(reason));
            }
            Ok(Answer::Refuse { reason }) => reason,
            Err(error) => reason::of(&error),
        };
        if left.is_zero() {
            return Err(NotReady::InTime { after: args.timeout, reason });
        }
        thread::sleep(PAUSE.min(left));
    }
}

fn ask(args: &WaitArgs, limit: Duration) -> Result<Answer, HookError> {
    // A request has a container; this one's is nobody's.
    let container = Facts { id: "agent".into(), ..Facts::default() };
    let frame = lifecycle::encode(&Request { version: VERSION, event: Event::Ready, container })?;
    let failed =
        |source: io::Error| HookError::Agent { socket: args.socket.display().to_string(), source };
    let body = exchange(&args.socket, &frame, limit).map_err(failed)?;
    Ok(lifecycle::decode_reply(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::Cause;

    #[test]
    fn who_refuses_is_never_ready_and_says_why_in_one_line() {
        let cause = Cause { reason: "no\nBTF".into(), remedy: "build" };
        let refusing = message(&Posture::Refusing(vec![cause]));
        assert!(refusing.starts_with("STATUS=refusing every container: no BTF"), "{refusing}");
        assert_eq!(refusing.lines().count(), 1);
        assert!(message(&Posture::Enforcing).starts_with("READY=1\n"));
        assert!(!message(&Posture::Starting).contains("READY"));
    }
}
