// SPDX-License-Identifier: Apache-2.0
//! `--keep`: the demo stays, says how to look around, and takes commands for its containers.

use std::io::{self, BufRead as _};

use anyhow::Result;

use super::{Containers, Narrator, printed};
use crate::node::Node;

/// Takes lines from standard input until it ends or says `quit`.
pub(super) fn until_the_end(
    tell: &Narrator,
    node: &Node,
    containers: &Containers<'_>,
) -> Result<()> {
    explain(tell, node);
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (place, command) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let argv = ["/bin/sh", "-c", command];
        let output = match place {
            "nginx" => containers.nginx.exec(&argv)?,
            "redis" => containers.redis.exec(&argv)?,
            "guest" => node.vm.exec(&argv)?,
            "quit" => break,
            "" => continue,
            other => {
                tell.say(&format!("`{other}` is none of nginx, redis, guest, quit"));
                continue;
            }
        };
        tell.quote(&printed(&output));
    }
    Ok(())
}

fn explain(tell: &Narrator, node: &Node) {
    let api = node.api();
    let call = format!("grpcurl -plaintext -unix {}", api.display());
    tell.step("Look around: all of it stays until you type quit, or press Ctrl-C");
    tell.say("Commands here:");
    tell.quote("nginx COMMAND      run it in that container\nredis COMMAND\nguest COMMAND      run it in the VM\nquit");
    tell.say("Policies, followed while you edit:");
    tell.quote(&node.policies().display().to_string());
    tell.say("The relay, in another terminal:");
    tell.quote(&format!(
        "{call} list\n{call} kadapter.relay.v1.Relay/ListSandboxes\n\
         {call} kadapter.relay.v1.Relay/ListPolicies\n\
         {call} -d '{{\"namespace\":\"shop\",\"pod\":\"nginx-1\",\"container_name\":\"main\"}}' \
         kadapter.relay.v1.Relay/GetRuleSet\n{call} kadapter.relay.v1.Relay/WatchEvents"
    ));
    tell.say("Logs of console, agent and relay, and the events:");
    tell.quote(&node.vm.logs().display().to_string());
}
