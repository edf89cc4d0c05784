// SPDX-License-Identifier: Apache-2.0
//! What the guest's agent promises, followed for as long as a connection lasts.
//!
//! Replies to `Status` flow in, the sandbox's view and one log line per change flow out. The agent
//! is asked again and again, more often while it has not made up its mind: it tells nobody by
//! itself, and its health says less. Decides nothing: a guest that does not enforce refuses
//! containers and rule sets by itself.

use std::time::Duration;

use kadapter_proto::guest::v1::{PostureState, StatusReply, guest_client::GuestClient};
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::{error, info, warn};

use super::{SessionError, ask_status, texts::shown};
use crate::status::{GuestPosture, SandboxView};

/// Between two questions to an agent that is ready or never will be: a person waits that long for
/// what is shown.
const SETTLED: Duration = Duration::from_secs(5);

/// While it starts or takes over, which takes a second or two without KVM.
const UNSETTLED: Duration = Duration::from_millis(250);

/// Asks until the connection ends.
pub(super) async fn follow(
    client: GuestClient<Channel>,
    view: watch::Sender<SandboxView>,
    told: &mut GuestPosture,
) -> Result<(), SessionError> {
    loop {
        let pause = pause_after(view.borrow().posture.state);
        tokio::time::sleep(pause).await;
        let status = ask_status(&client).await?;
        show(&status, &view, told);
    }
}

/// Shows what is, and logs what was not `told` before: a guest that comes back is no news.
pub(super) fn show(
    status: &StatusReply,
    view: &watch::Sender<SandboxView>,
    told: &mut GuestPosture,
) {
    let posture = GuestPosture { state: status.posture(), reason: shown(&status.reason).into() };
    view.send_if_modified(|view| {
        let is_news = view.posture != posture;
        view.posture = posture.clone();
        is_news
    });
    if *told != posture {
        log(&posture);
        *told = posture;
    }
}

fn log(posture: &GuestPosture) {
    let GuestPosture { state, reason } = posture;
    let state = state.as_str_name();
    match posture.state {
        PostureState::Enforcing => info!(state, "the guest enforces"),
        PostureState::Starting | PostureState::TakingOver => {
            info!(state, reason, "the guest is not ready");
        }
        PostureState::Degraded => warn!(state, reason, "the guest enforces, with a loss"),
        PostureState::Refusing | PostureState::Unspecified => {
            error!(state, reason, "the guest does not enforce");
        }
    }
}

fn pause_after(state: PostureState) -> Duration {
    match state {
        PostureState::Starting | PostureState::TakingOver => UNSETTLED,
        PostureState::Unspecified
        | PostureState::Refusing
        | PostureState::Enforcing
        | PostureState::Degraded => SETTLED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_has_not_made_up_its_mind_is_asked_often() {
        assert!(pause_after(PostureState::TakingOver) < pause_after(PostureState::Degraded));
        assert_eq!(pause_after(PostureState::Starting), pause_after(PostureState::TakingOver));
    }
}
