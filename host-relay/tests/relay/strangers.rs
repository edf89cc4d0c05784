// SPDX-License-Identifier: Apache-2.0
//! Who is not the guest, who is not the relay, and what the operator is told.

use std::{fs, os::unix::fs::PermissionsExt as _};

use host_relay::{
    pipeline::Defaults,
    relay::{self, Config, RunError},
    sandbox::Address,
};
use kadapter_proto::relay::v1::SessionState;
use policy_model::limits::MAX_MESSAGE_BYTES;
use session_tls::{PrivateKey, write_new};
use tempfile::TempDir;
use tokio::net::UnixListener;

use crate::{
    objects::{pod, target, waiting},
    rig::{Keys, Rig},
};

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

/// What the operator reads about the sandbox, when it says this.
async fn shown(rig: &Rig, text: &str) -> String {
    rig.sandbox(|found| found.state() != SessionState::Connected && found.error.contains(text))
        .await
        .error
}

async fn connected(rig: &Rig) {
    rig.sandbox(|found| found.state() == SessionState::Connected).await;
}

#[tokio::test]
async fn a_guest_that_refuses_the_key_is_named_with_the_remedy() {
    let keys = Keys { obeyed: vec![key().fingerprint()], ..Keys::default() };
    let pin = keys.relay.fingerprint();
    let rig = Rig::start_as(keys, &[("pod.yaml", pod("web"))]);
    let error = shown(&rig, "refuses this relay's key").await;
    assert!(error.contains(&format!("kadapter.relay_key={pin}")), "{error}");
    rig.guest.until(|record| (record.handshakes == 0).then_some(())).await;
}

#[tokio::test]
async fn both_keys_of_a_rotation_are_accepted() {
    let (old, new) = (key(), key());
    let obeyed = vec![old.fingerprint(), new.fingerprint()];
    for relay in [old, new] {
        let keys = Keys { relay, obeyed: obeyed.clone(), ..Keys::default() };
        let rig = Rig::start_as(keys, &[("pod.yaml", pod("web"))]);
        rig.guest.report(waiting("web"));
        assert_eq!(rig.guest.applied(1).await.target, target("web"));
    }
}

#[tokio::test]
async fn another_key_in_the_same_boot_gets_nothing_and_both_keys_are_shown() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    connected(&rig).await;
    rig.guest.go_away().await;
    let genuine = rig.guest.keys.clone().unwrap();
    let impostor = Keys { guest: key(), ..genuine.clone() };
    rig.guest.keys = Some(impostor.clone());
    rig.guest.report(waiting("web"));
    rig.guest.come_back();
    let error = shown(&rig, "another guest").await;
    for key in [&genuine.guest, &impostor.guest] {
        assert!(error.contains(&key.fingerprint().to_string()), "{error}");
    }
    rig.guest.until(|record| (record.applied.is_empty()).then_some(())).await;

    rig.guest.go_away().await;
    rig.guest.keys = Some(genuine);
    rig.guest.come_back();
    assert_eq!(rig.guest.applied(1).await.target, target("web"));
}

#[tokio::test]
async fn a_new_boot_may_bring_a_new_key() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    connected(&rig).await;
    rig.guest.go_away().await;
    rig.guest.keys.as_mut().unwrap().guest = key();
    rig.guest.reboot("boot-2");
    rig.guest.report(waiting("web"));
    rig.guest.come_back();
    assert_eq!(rig.guest.applied(1).await.target, target("web"));
}

#[tokio::test]
async fn a_guest_in_the_clear_gets_nothing() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    connected(&rig).await;
    rig.guest.go_away().await;
    rig.guest.keys = None;
    rig.guest.report(waiting("web"));
    rig.guest.come_back();
    shown(&rig, "no TLS: received corrupt message").await;
    rig.guest.until(|record| (record.handshakes == 1).then_some(())).await;
}

#[tokio::test]
async fn a_guest_that_is_silent_is_given_up() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    connected(&rig).await;
    rig.guest.go_away().await;
    let _silent = UnixListener::bind(rig.directory.path().join("guest.sock")).unwrap();
    shown(&rig, "no TLS within").await;
}

#[tokio::test]
async fn a_guest_that_does_not_answer_a_call_is_given_up_and_dialled_again() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    connected(&rig).await;
    rig.guest.go_away().await;
    rig.guest.update(|record| record.silent = true);
    rig.guest.come_back();
    shown(&rig, "Handshake is not answered within").await;
    rig.guest.update(|record| record.silent = false);
    connected(&rig).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_taken() {
    let mut rig = Rig::start(&[("pod.yaml", pod("web"))]);
    connected(&rig).await;
    rig.guest.go_away().await;
    rig.guest.update(|record| record.version = "x".repeat(MAX_MESSAGE_BYTES));
    rig.guest.come_back();
    shown(&rig, "message length too large").await;
    rig.guest.update(|record| record.version = "x".repeat(1024));
    connected(&rig).await;
}

#[tokio::test]
async fn a_relay_does_not_start_with_a_key_that_others_may_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.key");
    write_new(&path, &key()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let config = Config {
        policy_dir: directory.path().into(),
        sandboxes: vec![Address::Unix { path: directory.path().join("guest.sock") }],
        key: Some(path),
        api: directory.path().join("relay.sock"),
        events: None,
        defaults: Defaults::default(),
    };
    let error = relay::run(config, std::future::pending()).await.unwrap_err();
    assert!(
        matches!(error, RunError::Key(_)) && error.to_string().contains("chmod 600"),
        "{error}"
    );
}
