// SPDX-License-Identifier: Apache-2.0
//! A relay in this process, a directory of policies and a recording guest, over TLS.

use std::{fs, path::PathBuf, time::Duration};

use host_relay::{
    pipeline::Defaults,
    relay::{self, Config, EventsTo, RunError},
    sandbox::Address,
    transport,
};
use kadapter_proto::relay::v1::{
    GetRuleSetRequest, ListPoliciesRequest, ListSandboxesRequest, Policy, Sandbox,
    relay_client::RelayClient,
};
use session_tls::{Fingerprint, PrivateKey, write_new};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::Channel;

use crate::recording_guest::RecordingGuest;

/// Far above what anything here takes, for machines under load.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) directory: TempDir,
    pub(crate) guest: RecordingGuest,
    stop: Option<oneshot::Sender<()>>,
    relay: JoinHandle<Result<(), RunError>>,
}

/// Who is who.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) relay: PrivateKey,
    pub(crate) guest: PrivateKey,
    /// Whom the guest obeys.
    pub(crate) obeyed: Vec<Fingerprint>,
}

// === impl Keys ===

impl Default for Keys {
    fn default() -> Self {
        let relay = PrivateKey::generate().unwrap();
        let obeyed = vec![relay.fingerprint()];
        Self { relay, guest: PrivateKey::generate().unwrap(), obeyed }
    }
}

// === impl Rig ===

impl Rig {
    /// A relay that dials the guest itself, with these files in its directory.
    pub(crate) fn start(files: &[(&str, String)]) -> Self {
        Self::start_as(Keys::default(), files)
    }

    /// As [`Rig::start`], with these keys.
    pub(crate) fn start_as(keys: Keys, files: &[(&str, String)]) -> Self {
        let directory = TempDir::new().unwrap();
        let address = Address::Unix { path: directory.path().join("guest.sock") };
        Self::start_with(directory, address, Some(keys), files)
    }

    /// A relay that dials another address, in the clear without keys.
    pub(crate) fn start_with(
        directory: TempDir,
        address: Address,
        keys: Option<Keys>,
        files: &[(&str, String)],
    ) -> Self {
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("policies")).unwrap();
        for (name, text) in files {
            fs::write(path("policies").join(name), text).unwrap();
        }
        let key = keys.as_ref().map(|keys| {
            write_new(&path("relay.key"), &keys.relay).unwrap();
            path("relay.key")
        });
        let guest = RecordingGuest::listen(&path("guest.sock"), keys);
        let config = Config {
            policy_dir: path("policies"),
            sandboxes: vec![address],
            key,
            api: path("relay.sock"),
            events: Some(EventsTo::File(path("events.jsonl"))),
            defaults: Defaults::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let relay = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            relay::run(config, stopped).await
        });
        Self { directory, guest, stop: Some(stop), relay }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("policies").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(crate) async fn channel(&self) -> Channel {
        let path = self.directory.path().join("relay.sock");
        let address = Address::Unix { path };
        eventually(async || transport::connect_in_the_clear(&address).await.ok()).await
    }

    pub(crate) async fn api(&self) -> RelayClient<Channel> {
        RelayClient::new(self.channel().await)
    }

    /// Waits until the API shows a policy as asked.
    pub(crate) async fn policy(&self, accept: impl Fn(&Policy) -> bool) -> Policy {
        let api = self.api().await;
        eventually(async || {
            let reply = api.clone().list_policies(ListPoliciesRequest {}).await.unwrap();
            reply.into_inner().policies.into_iter().find(&accept)
        })
        .await
    }

    /// Waits until the API shows the sandbox as asked.
    pub(crate) async fn sandbox(&self, accept: impl Fn(&Sandbox) -> bool) -> Sandbox {
        let api = self.api().await;
        eventually(async || {
            let reply = api.clone().list_sandboxes(ListSandboxesRequest {}).await.unwrap();
            reply.into_inner().sandboxes.into_iter().find(&accept)
        })
        .await
    }

    pub(crate) fn rule_set_request(pod: &str) -> GetRuleSetRequest {
        GetRuleSetRequest {
            namespace: "shop".into(),
            pod: pod.into(),
            container_name: "main".into(),
        }
    }

    /// Stops the relay and gives the lines of events that it wrote.
    pub(crate) async fn stop(mut self) -> Vec<serde_json::Value> {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(DEADLINE, &mut self.relay).await.unwrap().unwrap().unwrap();
        let lines = fs::read_to_string(self.directory.path().join("events.jsonl")).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Asks until there is an answer: for states that nobody announces.
pub(crate) async fn eventually<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let wait = async {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        loop {
            pause.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap()
}
