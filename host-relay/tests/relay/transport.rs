// SPDX-License-Identifier: Apache-2.0
//! Over the hypervisor's socket.

use host_relay::sandbox::{AGENT_PORT, Address};
use tempfile::TempDir;

use crate::{
    muxer::{self, Manner},
    objects::{pod, target, waiting},
    rig::Rig,
};

fn behind_muxer(manners: &'static [Manner]) -> Rig {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("v.sock");
    muxer::spawn(&path, directory.path().join("guest.sock"), manners);
    let address = Address::HybridVsock { path, port: AGENT_PORT };
    Rig::start_at(directory, address, &[("pod.yaml", pod("web"))])
}

#[tokio::test]
async fn bytes_that_follow_ok_at_once_reach_the_session() {
    let rig = behind_muxer(&[Manner::Connect]);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.target, target("web"));
}

#[tokio::test]
async fn a_guest_that_is_not_up_yet_is_dialled_again() {
    let rig = behind_muxer(&[Manner::Close, Manner::Endless, Manner::Close, Manner::Connect]);
    rig.guest.report(waiting("web"));
    assert_eq!(rig.guest.applied(1).await.target, target("web"));
}

#[tokio::test]
async fn the_reason_for_no_connection_is_shown() {
    let rig = behind_muxer(&[Manner::Close]);
    let sandbox = rig.sandbox(|found| !found.error.is_empty()).await;
    assert!(sandbox.error.contains("nobody listens on port 1034"), "{}", sandbox.error);
    let rig = behind_muxer(&[Manner::Endless]);
    let sandbox = rig.sandbox(|found| !found.error.is_empty()).await;
    assert!(sandbox.error.contains("has no end within"), "{}", sandbox.error);
}
