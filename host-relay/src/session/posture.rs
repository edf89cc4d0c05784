// SPDX-License-Identifier: Apache-2.0
//! What the guest's agent promises, followed for as long as a connection lasts.
//!
//! Replies to `Status` flow in, the sandbox's view and one log line per change flow out. The agent
//! is asked again and again, more often while it has not made up its mind: it tells nobody by
//! itself, and its health says less. Decides nothing: a guest that does not enforce refuses
//! containers and rule sets by itself.

use std::{collections::BTreeMap, time::Duration};

use kadapter_proto::guest::v1::{Cause, PostureState, StatusReply, guest_client::GuestClient};
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::{error, info, warn};

use super::{SessionError, ask_status, texts::shown};
use crate::{
    sandbox::{MAX_ID_BYTES, MAX_TARGETS},
    status::{GuestPosture, SandboxView},
};

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
    let mut denied = Denied::new();
    loop {
        let pause = pause_after(view.borrow().posture.state);
        tokio::time::sleep(pause).await;
        let status = ask_status(&client).await?;
        show(&status, &view, told);
        for (container, cause, count) in news(&status, &mut denied) {
            let cause = cause.as_str_name();
            warn!(container, cause, count, "the guest denied what it could not decide");
        }
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

/// Denials without a decision, by container and cause, that were logged. As long as the status, which is
/// bounded as every message is.
type Denied = BTreeMap<(String, Cause), u64>;

/// What has grown since it was told last.
fn news(status: &StatusReply, told: &mut Denied) -> Vec<(String, Cause, u64)> {
    let elsewhere = status.counters.iter().map(|counters| ("", &counters.undecided));
    let targets = status.targets.iter().take(MAX_TARGETS);
    let targets = targets.map(|target| (&*target.container_id, &target.undecided));
    let mut now = Denied::new();
    for (container, denials) in elsewhere.chain(targets) {
        let container: String = container.chars().take(MAX_ID_BYTES).collect();
        now.extend(denials.iter().map(|it| ((container.clone(), it.cause()), it.count)));
    }
    let grown = now.iter().filter(|(what, count)| told.get(what).is_none_or(|old| old < count));
    let grown = grown.map(|((container, cause), count)| (container.clone(), *cause, *count));
    let grown = grown.collect();
    *told = now;
    grown
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
    use kadapter_proto::guest::v1 as pb;

    use super::*;

    #[test]
    fn a_denial_without_a_decision_is_told_when_there_are_more() {
        let status = |count| {
            let undecided = vec![pb::Undecided { cause: Cause::Mark.into(), count }];
            let container_id = "c1".into();
            let target = pb::TargetStatus { container_id, undecided, ..Default::default() };
            StatusReply { targets: vec![target], ..StatusReply::default() }
        };
        let mut told = Denied::new();
        let one = [("c1".to_owned(), Cause::Mark, 1)];
        assert_eq!(news(&status(1), &mut told), one);
        assert_eq!(news(&status(1), &mut told), []);
        assert_eq!(news(&status(3), &mut told), [("c1".to_owned(), Cause::Mark, 3)]);
        assert_eq!(news(&StatusReply::default(), &mut told), []);
    }

    #[test]
    fn an_agent_that_has_not_made_up_its_mind_is_asked_often() {
        assert!(pause_after(PostureState::TakingOver) < pause_after(PostureState::Degraded));
        assert_eq!(pause_after(PostureState::Starting), pause_after(PostureState::TakingOver));
    }
}
