// SPDX-License-Identifier: Apache-2.0
//! Others than the node's relay speak to the agent, or another guest to the relay: they are refused,
//! the reason can be read, and the rules stay in force.

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig, PATIENCE, eventually, keygen},
    rootfs::Rootfs,
    suites::skipped,
};
use session_tls::{client_config, read};
use tokio_rustls::rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

use crate::{
    agent::{AGENT_PORT, Agent, refusal},
    steps::{allowed, becomes_allowed, becomes_denied, block_program, denied},
    takeover::{kill_agent, restart_agent},
};

const BLOCKED: &str = "/usr/bin/id";

/// Where the agent keeps its key of this boot, and where a test puts it away.
const GUEST_KEY: &str = "/run/kadapter/guest.key";
const PUT_AWAY: &str = "/root/guest.key";

/// Vsock's loopback, and the guest by its own address.
const OWN_CIDS: [&str; 2] = ["1", "3"];

/// Connects to the agent's port at a CID, and waits until it is hung up on. A perl that is killed
/// by its alarm says nothing.
const DIAL: &str = "\
    alarm 30; socket(my $s, 40, 1, 0) or die \"socket: $!\"; \
    connect($s, pack('SSLLx4', 40, 0, 1034, $ARGV[0])) or die \"connect: $!\"; \
    print sysread($s, my $byte, 1) ? 'answered' : 'hung up'";

/// The line of the guest's console that says this, now or soon.
fn logged(node: &Node, what: &str) -> Result<String> {
    let line = node.vm.console().wait_for(what, Instant::now() + PATIENCE);
    line.with_context(|| format!("the agent does not log `{what}`"))
}

fn times_refused(node: &Node) -> usize {
    node.vm.console().text().matches("a connection from vsock CID 1, which is not the host").count()
}

#[test]
fn only_the_relay_whose_key_is_on_the_kernels_command_line_is_obeyed_and_it_alone() -> Result<()> {
    let node = Node::start(&NodeConfig::new("strangers"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, BLOCKED)?;
    node.write("policy.yaml", &block_program("no-id", "nginx", BLOCKED))?;
    becomes_denied(&web, BLOCKED)?;

    ensure!(Agent::dial(&node)?.is_second(), "a second client is obeyed");
    logged(&node, "a second relay is refused")?;

    let stranger = node.policies().with_file_name("stranger.key");
    let pin = keygen(&stranger)?;
    node.replace_relay(&stranger)?;
    node.remove("policy.yaml")?;
    let reason =
        node.relay_log().wait("the refusal", |line| line.contains("refuses this relay"))?;
    ensure!(reason.contains(&format!("kadapter.relay_key={pin}")), "no remedy in {reason}");
    let reason = logged(&node, &format!("the key {pin} is not configured"))?;
    ensure!(reason.contains("connection refused"), "{reason}");
    denied(&web, BLOCKED)?;
    allowed(&web, "/bin/ls /")?;

    node.restart_relay()?;
    becomes_allowed(&web, BLOCKED)
}

#[test]
fn who_is_not_the_host_or_shows_no_key_is_hung_up_on_and_the_session_goes_on() -> Result<()> {
    let node = Node::start(&NodeConfig::new("not-the-host").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    allowed(&web, BLOCKED)?;
    // In the root of a container, for its perl, but in none.
    let root = web.bundle().root();
    for cid in OWN_CIDS {
        let before = times_refused(&node);
        let output = node.vm.exec(&["chroot", &root, "perl", "-e", DIAL, cid])?;
        if output.stderr.text().contains("connect: No such device") {
            skipped("the guest's kernel has no loopback of vsock");
            return Ok(());
        }
        ensure!(output.stdout.text() == "hung up", "{}: {}", output.end, output.stderr.text());
        eventually("the refusal is logged", || Ok(times_refused(&node) > before))?;
    }

    let mut config = client_config(&read(&node.key())?);
    config.client_auth_cert_resolver = Arc::new(NoKey);
    let answer = refusal(&node, config)?.to_string();
    ensure!(answer.contains("CertificateRequired"), "{answer}");
    let reason = logged(&node, "peer sent no certificates")?;
    ensure!(reason.contains("connection refused"), "{reason}");

    let mut clear = node.vm.connect(AGENT_PORT, Instant::now() + PATIENCE)?;
    clear.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    // An alert, then the end in one way or another.
    let _ = clear.read_to_end(&mut Vec::new());
    let reason = logged(&node, "received corrupt message")?;
    ensure!(reason.contains("connection refused"), "{reason}");

    node.write("policy.yaml", &block_program("no-id", "nginx", BLOCKED))?;
    becomes_denied(&web, BLOCKED)?;
    let log = node.relay_log().all();
    ensure!(!log.iter().any(|line| line.contains("connection lost")), "the session was lost");
    Ok(())
}

#[test]
fn both_keys_of_a_rotation_are_obeyed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let next = directory.path().join("next.key");
    let pin = keygen(&next)?;
    let mut config = NodeConfig::new("rotation");
    config.cmdline = vec![format!("kadapter.relay_key={pin}")];
    let node = Node::start(&config)?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, BLOCKED)?;
    node.write("policy.yaml", &block_program("no-id", "nginx", BLOCKED))?;
    becomes_denied(&web, BLOCKED)?;

    node.replace_relay(&next)?;
    node.remove("policy.yaml")?;
    becomes_allowed(&web, BLOCKED)?;
    let reason = logged(&node, &format!("relay={pin}"))?;
    ensure!(reason.contains("is obeyed"), "{reason}");
    Ok(())
}

#[test]
fn a_guest_that_shows_another_key_gets_nothing_until_it_shows_the_first_again() -> Result<()> {
    let node = Node::start(&NodeConfig::new("changed-key"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    allowed(&web, BLOCKED)?;

    kill_agent(&node)?;
    node.vm.sh(&format!("mv {GUEST_KEY} {PUT_AWAY}"))?;
    restart_agent(&node)?;
    node.write("policy.yaml", &block_program("no-id", "nginx", BLOCKED))?;
    let refusal = node.relay_log().wait("the refusal", |line| line.contains("another guest"))?;
    ensure!(refusal.contains("\"level\":\"ERROR\""), "{refusal}");
    ensure!(refusal.contains("at first contact and shows"), "{refusal}");

    kill_agent(&node)?;
    node.vm.sh(&format!("mv {PUT_AWAY} {GUEST_KEY}"))?;
    restart_agent(&node)?;
    becomes_denied(&web, BLOCKED)?;
    let log = node.relay_log().all();
    let last = |what: &str| log.iter().rposition(|line| line.contains(what));
    let refused = last("another guest").context("the refusal")?;
    let connected = last("\"connected\"").context("the session")?;
    ensure!(refused < connected, "the genuine guest is refused");
    let sent = |line: &String| line.contains("\"sending\"");
    ensure!(!log[refused..connected].iter().any(sent), "something was sent to another guest");
    ensure!(log[connected..].iter().any(sent), "the policy came some other way");
    Ok(())
}

/// A client that answers the request for a key with none.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}
