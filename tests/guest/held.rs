// SPDX-License-Identifier: Apache-2.0
//! What a process does with a file before the rules come decides nothing of how the rules hold it.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    node::{Node, NodeConfig, eventually},
    rootfs::{Rootfs, Running},
    vm::Spawn,
};

use crate::steps::{allowed, becomes_allowed, becomes_denied, block_program, denied, sh};

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

fn lease(node: &Node, web: &Running<'_>, file: &str, asked: &str) -> Result<()> {
    let argv = ["runc", "exec", "web", "/usr/bin/perl", "-e", LEASE, file, asked];
    let log = format!("/var/log/lease-{asked}.log");
    node.vm.spawn(Spawn { argv: argv.map(str::to_owned).into(), log, ..Spawn::default() })?;
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
fn a_lease_keeps_no_program_and_no_copy_of_it_from_being_held() -> Result<()> {
    let node = Node::start(&NodeConfig::new("leased").debian())?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::DebianOverlay).run(&node.vm)?;
    let make = "mkdir /srv/a /srv/b && cp /usr/bin/true /srv/a/tool && cp /srv/a/tool /srv/copy && \
                cp /usr/bin/id /srv/b/tool && /srv/a/tool && /srv/b/tool";
    allowed(&web, make)?;
    for (file, asked) in
        [("/srv/a/tool", "keep"), ("/srv/copy", "keep"), ("/srv/b/tool", "take it again")]
    {
        lease(&node, &web, file, asked)?;
    }

    for (name, file) in [("no-a", "/srv/a/tool"), ("no-b", "/srv/b/tool")] {
        node.write(&format!("{name}.yaml"), &block_program(name, "nginx", file))?;
        becomes_denied(&web, file)?;
    }
    allowed(&web, "mv /srv/a /srv/moved-a && mv /srv/b /srv/moved-b")?;
    for tool in ["/srv/moved-a/tool", "/srv/moved-b/tool"] {
        denied(&web, tool)?;
        // As long as the holder has it open for writing, an exec fails in any case; a read does not.
        denied(&web, &format!("cat {tool} > /dev/null"))?;
    }
    // What was not read in time is read by another search.
    becomes_denied(&web, "cat /srv/copy > /dev/null")?;
    // A set that goes out of force is erased when no program can use it any more.
    node.vm.sh(TRACE)?;
    node.remove("no-a.yaml")?;
    node.remove("no-b.yaml")?;
    becomes_allowed(&web, "cat /srv/moved-a/tool /srv/copy > /dev/null")?;
    ensure!(grace_periods(&node)? > 0, "{}", node.vm.sh("cat /tmp/trace/trace")?);
    Ok(())
}
