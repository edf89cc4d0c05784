// SPDX-License-Identifier: Apache-2.0
//! What is no policy and what is no rule set: each is refused with a reason, and the rule in force
//! stays in force.

mod policies;
mod rule_sets;

use anyhow::Result;
use e2e::{
    node::Node,
    rootfs::{Rootfs, Running},
};

use crate::steps::{becomes_denied, block_program};

/// The file of the one policy.
const FILE: &str = "policy.yaml";

/// What that policy blocks.
const BLOCKED: &str = "/usr/bin/id";

/// A container for which the policy is in force.
fn under_a_policy(node: &Node) -> Result<Running<'_>> {
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).run(&node.vm)?;
    node.write(FILE, &block_program("no-id", "nginx", BLOCKED))?;
    becomes_denied(&web, BLOCKED)?;
    Ok(web)
}
