// SPDX-License-Identifier: Apache-2.0
//! Over the hypervisor's socket, with and without TLS.

use host_relay::sandbox::{AGENT_PORT, Address};
use tempfile::TempDir;

use crate::{
    muxer::{self, Manner},
    objects::{pod, target, waiting},
    rig::{Keys, Rig},
};

fn behind_muxer(manners: &'static [Manner], tls: bool) -> Rig {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("v.sock");
    muxer::spawn(&path, directory.path().join("guest.sock"), manners);
    let address = Address::HybridVsock { path, port: AGENT_PORT };
    let files = [("pod.yaml", pod("web"))];
    let keys = tls.then(Keys::default);
    Rig::start_with(directory, address, keys, &files)
}

#[tokio::test]
async fn bytes_that_follow_ok_at_once_reach_the_session() {
    let rig = behind_muxer(&[Manner::ConnectAtFirstWord], false);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.target, target("web"));
}

#[tokio::test]
async fn tls_goes_through_the_multiplexer() {
    let rig = behind_muxer(&[Manner::Connect], true);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.target, target("web"));
}

#[tokio::test]
async fn a_guest_that_is_not_up_yet_is_dialled_again() {
    let rig = behind_muxer(&[Manner::Close, Manner::Endless, Manner::Close, Manner::Connect], true);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.target, target("web"));
}

#[tokio::test]
async fn the_reason_for_no_connection_is_shown() {
    let rig = behind_muxer(&[Manner::Close], true);
    let sandbox = rig.sandbox(|found| !found.error.is_empty()).await;
    assert!(sandbox.error.contains("nobody listens on port 1034"), "{}", sandbox.error);
    let rig = behind_muxer(&[Manner::Endless], true);
    let sandbox = rig.sandbox(|found| !found.error.is_empty()).await;
    assert!(sandbox.error.contains("has no end within"), "{}", sandbox.error);
}
