// SPDX-License-Identifier: Apache-2.0
//! What operators are shown: read views, each written by the one task that owns the state behind
//! it, and read by the API through watch channels.

use std::{collections::BTreeMap, sync::Arc};

use kadapter_proto::guest::v1::{PostureState, Residue};
use kubesmith::PolicyRef;
use policy_model::{Digest, Generation, Target};
use tokio::sync::watch;

use crate::{
    pipeline::Plan,
    sandbox::{Address, ContainerState},
};

/// What a container should have, or why nothing is sent to it.
pub type Wanted = Result<Arc<Plan>, String>;

/// What the containers of one sandbox should have.
pub type Desired = Arc<BTreeMap<Target, Wanted>>;

/// A session and its guest. Written by the session.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxView {
    /// Where the guest is reached.
    pub address: Address,
    /// Whether a session is open.
    pub connected: bool,
    /// Last error; empty when connected.
    pub error: String,
    /// Version of the agent.
    pub guest_version: String,
    /// Boot of the guest.
    pub boot_id: String,
    /// What its agent promises.
    pub posture: GuestPosture,
    /// Its containers.
    pub containers: Vec<ContainerView>,
}

/// What a guest's agent promises; unspecified when not connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestPosture {
    /// In a word.
    pub state: PostureState,
    /// Why it promises less than all, and what to do; the guest's words.
    pub reason: String,
}

/// A container of a guest.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub target: Target,
    /// Its state.
    pub state: ContainerState,
    /// What is in force.
    pub in_force: Option<(Generation, Digest)>,
    /// Policies that select it.
    pub policies: Vec<PolicyRef>,
    /// Rules that could not be put into force as asked.
    pub residues: Vec<Residue>,
    /// Why the newest rule set is not in force; empty if it is.
    pub error: String,
}

/// A policy. Written by the reconciler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyView {
    /// Its name.
    pub policy: PolicyRef,
    /// Where it was read.
    pub origin: String,
    /// Containers that it selects.
    pub selects: Vec<Target>,
    /// Why the newest version is refused; empty if it is not.
    pub error: String,
}

/// Everything that the API reads.
#[derive(Clone, Debug)]
pub struct Views {
    /// Sandboxes.
    pub sandboxes: Vec<SandboxViews>,
    /// Policies.
    pub policies: watch::Receiver<Arc<Vec<PolicyView>>>,
}

/// Views of one sandbox.
#[derive(Clone, Debug)]
pub struct SandboxViews {
    /// Session and guest.
    pub session: watch::Receiver<SandboxView>,
    /// What its containers should have.
    pub desired: watch::Receiver<Desired>,
}

// === impl SandboxView ===

impl SandboxView {
    /// A sandbox that nobody has reached yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            connected: false,
            error: String::new(),
            guest_version: String::new(),
            boot_id: String::new(),
            posture: GuestPosture::default(),
            containers: Vec::new(),
        }
    }
}
