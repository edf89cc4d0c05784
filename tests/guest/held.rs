// SPDX-License-Identifier: Apache-2.0
//! What a process does with files, before the rules come or in another container, decides nothing of
//! how the rules hold.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::{Rootfs, Running},
    suites::measured,
    vm::Spawn,
};

use crate::{
    files::file_policy,
    steps::{allowed, becomes_allowed, becomes_denied, block_program, denied, sh},
};

/// Takes a lease of a file that keeps every reader out (F_SETLEASE, F_WRLCK), and says so. When it is
/// asked for it, it does what the second argument says.
const LEASE: &str = r#"
    my ($file, $asked) = @ARGV;
    open(my $fd, "+<", $file) or die "open: $!";
    sub take { fcntl($fd, 1024, 1) }
    $SIG{IO} = $asked eq "keep" ? "IGNORE" : sub { fcntl($fd, 1024, 2); take() };
    take() or die "lease: $!";
    open(my $said, ">", "$file.leased");
    while (1) { select(undef, undef, undef, 0.01); take() if $asked ne "keep" }
"#;

/// Moves a file and says so once.
const RENAMES: &str = r#"
    open(my $file, ">", "/tmp/a");
    for (my $i = 0; ; $i++) {
        rename("/tmp/a", "/tmp/b");
        rename("/tmp/b", "/tmp/a");
        open(my $said, ">", "/tmp/renamed") if $i == 1000;
    }
"#;

/// Opens files, each of which is looked for from the root as soon as a file was moved anywhere.
const OPENS: &str = r#"
    for (my $i = 0; $i < 2000; $i++) { open(my $file, "<", "/etc/passwd") or die "$i: $!" }
"#;

/// Leaves a script of perl running in a container.
fn spawn(node: &Node, container: &str, script: &str, arguments: &[&str]) -> Result<()> {
    let argv = [&["runc", "exec", container, "/usr/bin/perl", "-e", script], arguments].concat();
    let argv = argv.into_iter().map(str::to_owned).collect();
    let log = format!("/var/log/perl-{container}.log");
    node.vm.spawn(Spawn { argv, log, ..Spawn::default() })?;
    Ok(())
}

fn lease(node: &Node, web: &Running<'_>, file: &str, asked: &str) -> Result<()> {
    spawn(node, "web", LEASE, &[file, asked])?;
    let taken = format!("test -e {file}.leased");
    eventually("the lease is taken", || Ok(sh(web, &taken)?.success()))
}

/// Traces who asks the kernel for a grace period of RCU.
const TRACE: &str = "mkdir /tmp/trace && mount -t tracefs none /tmp/trace && cd /tmp/trace && \
                     echo synchronize_rcu > set_ftrace_filter && echo function > current_tracer";

/// That membarrier(2) asks for one too where there are two processors does not count.
fn grace_periods(node: &Node) -> Result<usize> {
    let lines = node
        .vm
        .sh("grep -c 'synchronize_rcu <-.*bpf\\|synchronize_rcu <-map_' /tmp/trace/trace || :")?;
    lines.trim().parse().context("a number")
}

#[test]
fn what_processes_do_with_files_changes_no_verdict() -> Result<()> {
    let node = Node::start(&NodeConfig::new("held").debian())?;
    node.pod("web", "nginx")?;
    node.pod("other", "redis")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    leases_free_nothing(&node, &web)?;
    let other = Node::container("other", Rootfs::DebianOverlay).run(&node.vm)?;
    renames_deny_nothing(&node, &web, &other)
}

/// A lease keeps no program and no copy of it from being held.
fn leases_free_nothing(node: &Node, web: &Running<'_>) -> Result<()> {
    let make = "mkdir /srv/a /srv/b && cp /usr/bin/true /srv/a/tool && cp /srv/a/tool /srv/copy && \
                cp /usr/bin/id /srv/b/tool && /srv/a/tool && /srv/b/tool";
    allowed(web, make)?;
    for (file, asked) in
        [("/srv/a/tool", "keep"), ("/srv/copy", "keep"), ("/srv/b/tool", "take it again")]
    {
        lease(node, web, file, asked)?;
    }

    for (name, file) in [("no-a", "/srv/a/tool"), ("no-b", "/srv/b/tool")] {
        node.write(&format!("{name}.yaml"), &block_program(name, "nginx", file))?;
        becomes_denied(web, file)?;
    }
    allowed(web, "mv /srv/a /srv/moved-a && mv /srv/b /srv/moved-b")?;
    for tool in ["/srv/moved-a/tool", "/srv/moved-b/tool"] {
        denied(web, tool)?;
        // As long as the holder has it open for writing, an exec fails in any case; a read does not.
        denied(web, &format!("cat {tool} > /dev/null"))?;
    }
    // What was not read in time is read by another search.
    becomes_denied(web, "cat /srv/copy > /dev/null")?;
    // A set that goes out of force is erased when no program can use it any more.
    node.vm.sh(TRACE)?;
    node.remove("no-a.yaml")?;
    node.remove("no-b.yaml")?;
    becomes_allowed(web, "cat /srv/moved-a/tool /srv/copy > /dev/null")?;
    ensure!(grace_periods(node)? > 0, "{}", node.vm.sh("cat /tmp/trace/trace")?);
    Ok(())
}

/// A loop of renames in one container costs opens in another, and denies none of them.
fn renames_deny_nothing(node: &Node, web: &Running<'_>, other: &Running<'_>) -> Result<()> {
    let tree = file_policy("matchDirectories", &["{dir: /srv/tree/, recursive: true}"], "Block");
    allowed(web, "mkdir /srv/tree && echo text > /srv/tree/file")?;
    node.write("tree.yaml", &tree)?;
    becomes_denied(web, "cat /srv/tree/file")?;
    let opens = || -> Result<Duration> {
        let started = Instant::now();
        allowed(web, &format!("perl -e '{OPENS}'"))?;
        Ok(started.elapsed())
    };
    let quiet = opens()?;
    spawn(node, "other", RENAMES, &[])?;
    eventually("files are moved", || Ok(sh(other, "test -e /tmp/renamed")?.success()))?;
    let busy = opens()?;
    denied(web, "cat /srv/tree/file")?;
    measured(&format!("2000 opens: {quiet:.1?}, and {busy:.1?} while another container renames"));
    Ok(())
}
