// SPDX-License-Identifier: Apache-2.0
//! A relay in a process of its own, as it is shipped, and a node full of recording guests.

use std::{
    fmt::Write as _,
    fs,
    process::{Child, Command, Stdio},
};

use host_relay::{sandbox::Address, transport};
use kadapter_proto::relay::v1::{ListSandboxesRequest, Sandbox, relay_client::RelayClient};
use session_tls::{PrivateKey, write_new};
use tempfile::TempDir;

use crate::{
    objects::waiting,
    recording_guest::{Record, RecordingGuest},
    rig::{Keys, eventually},
};

/// Guests, each with a container that waits, and their relay.
pub(crate) struct Fleet {
    directory: TempDir,
    pub(crate) guests: Vec<RecordingGuest>,
    relay: Child,
}

/// What the relay's process holds, as the kernel says.
#[derive(Debug)]
pub(crate) struct Footprint {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// On processors, in hundredths of a second.
    pub(crate) ticks: u64,
}

// === impl Fleet ===

impl Fleet {
    /// Guests of pods `web-0`, `web-1` and so on, which policies for `web` select.
    pub(crate) fn start(size: usize, policy: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        let relay_key = PrivateKey::generate().unwrap();
        write_new(&path("relay.key"), &relay_key).unwrap();
        let mut pods = String::new();
        let guests = (0..size).map(|number| {
            let pod = pod(number);
            writeln!(
                pods,
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: shop, uid: \
                 uid-{pod}, labels: {{app: web}}}}\nspec: {{containers: [{{name: main}}]}}"
            )
            .unwrap();
            let keys = Keys {
                relay: relay_key.clone(),
                guest: PrivateKey::generate().unwrap(),
                obeyed: vec![relay_key.fingerprint()],
            };
            let guest = RecordingGuest::listen(&path(&format!("{pod}.sock")), Some(keys));
            guest.report(waiting(&pod));
            guest
        });
        let guests = guests.collect();
        fs::create_dir(path("policies")).unwrap();
        fs::write(path("policies/pods.yaml"), pods).unwrap();
        fs::write(path("policies/policy.yaml"), policy).unwrap();
        let relay = spawn(&directory, size);
        Self { directory, guests, relay }
    }

    /// Changes the policy, as editors do.
    pub(crate) fn write(&self, policy: &str) {
        let path = |name: &str| self.directory.path().join("policies").join(name);
        fs::write(path(".policy.yaml~"), policy).unwrap();
        fs::rename(path(".policy.yaml~"), path("policy.yaml")).unwrap();
    }

    /// Kills the relay and starts another one.
    pub(crate) fn restart_relay(&mut self) {
        end(&mut self.relay);
        self.relay = spawn(&self.directory, self.guests.len());
    }

    /// Waits until each guest is as asked, and gives what it shows.
    pub(crate) async fn each<T>(&self, look: impl Fn(&Record) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        for guest in &self.guests {
            found.push(guest.until(&look).await);
        }
        found
    }

    /// Waits until the relay shows each sandbox as asked.
    pub(crate) async fn shown(&self, accept: impl Fn(&Sandbox) -> bool) {
        let path = self.directory.path().join("relay.sock");
        let address = Address::Unix { path };
        let channel =
            eventually(async || transport::connect_in_the_clear(&address).await.ok()).await;
        let api = RelayClient::new(channel);
        eventually(async || {
            let reply = api.clone().list_sandboxes(ListSandboxesRequest {}).await.unwrap();
            let sandboxes = reply.into_inner().sandboxes;
            (sandboxes.len() == self.guests.len() && sandboxes.iter().all(&accept)).then_some(())
        })
        .await;
    }

    pub(crate) fn footprint(&self) -> Footprint {
        let proc = format!("/proc/{}", self.relay.id());
        let status = fs::read_to_string(format!("{proc}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Footprint {
            resident_kib: resident.trim().strip_suffix(" kB").unwrap().parse().unwrap(),
            descriptors: fs::read_dir(format!("{proc}/fd")).unwrap().count(),
            threads: fs::read_dir(format!("{proc}/task")).unwrap().count(),
            ticks: ticks(&fs::read_to_string(format!("{proc}/stat")).unwrap()),
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        end(&mut self.relay);
    }
}

/// The 14th and 15th field; the second is a name in brackets.
fn ticks(stat: &str) -> u64 {
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn pod(number: usize) -> String {
    format!("web-{number}")
}

fn spawn(directory: &TempDir, size: usize) -> Child {
    let path = |name: &str| directory.path().join(name);
    let unix = |name: &str| format!("unix://{}", path(name).display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_kadapter-relay"));
    command.arg("--policy-dir").arg(path("policies")).arg("--key").arg(path("relay.key"));
    command.args(["--api", &unix("relay.sock"), "--log", "warn"]);
    for number in 0..size {
        command.args(["--sandbox", &unix(&format!("{}.sock", pod(number)))]);
    }
    let log = fs::File::options().create(true).append(true).open(path("relay.log")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn end(relay: &mut Child) {
    // Fails if it has ended already.
    let _ = relay.kill();
    relay.wait().unwrap();
}
