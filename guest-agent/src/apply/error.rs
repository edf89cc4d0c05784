// SPDX-License-Identifier: Apache-2.0
//! Why a rule set does not come into force: one variant for each step of `apply.rs` that can fail, with
//! what it failed on. Never: decides what is taken back, which the steps do.

use policy_model::{Feature, Target, eval::UnsupportedRule, wire::InvalidRuleSet};

use crate::{
    containers::{InspectError, cgroup::CgroupError},
    lower::LowerError,
    maps::{InstallError, MapsError, SwitchError},
    reason,
    registry::{InForce, Stopped},
};

/// Why a rule set is not in force. The one before it is, in all containers of the name, unless the
/// error says in which it is not.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The new set could not be switched to.
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// It failed, and left something in the kernel that no program looks up.
    #[error("{}; and what was prepared could not be taken back", reason::of(&**first))]
    NotTakenBack {
        /// Why it failed.
        first: Box<ApplyError>,
        /// Why that could not be taken back.
        #[source]
        second: MapsError,
    },
    /// Not an encoded envelope.
    #[error("the envelope cannot be decoded: {0}")]
    Envelope(String),
    /// Not a valid rule set.
    #[error(transparent)]
    RuleSet(#[from] InvalidRuleSet),
    /// A rule of a kind that this agent does not enforce.
    #[error(transparent)]
    Rule(#[from] UnsupportedRule),
    /// An option that this agent does not enforce.
    #[error("the rule set needs `{0}`, which is not built yet")]
    Option(Feature),
    /// Too old.
    #[error("the rule set of {target} was valid until {not_after} (seconds since the epoch)")]
    Expired {
        /// The container by name.
        target: Target,
        /// The last second of its validity.
        not_after: u64,
    },
    /// Not newer than the set in force.
    #[error(transparent)]
    Stale(Box<StaleRuleSet>),
    /// Containers came as fast as the files of those before were searched.
    #[error("containers of {0} came while the files of others were searched; try again")]
    Unsearched(Target),
    /// Nobody removes what is held.
    #[error("{0} rule sets are held already; remove those of pods that are gone")]
    TooMany(usize),
    /// The rules and the container's mounts do not go together.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The container cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Its cgroup cannot be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kernel did not take the set.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The kernel did not take the registration.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// Nothing is enforced here.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A rule set that does not follow the one in force.
#[derive(Debug, thiserror::Error)]
#[error(
    "{target}: generation {} ({}) does not follow generation {} ({}), which is in force",
    offered.generation, offered.digest, in_force.generation, in_force.digest
)]
pub struct StaleRuleSet {
    /// The container by name.
    pub target: Target,
    /// The set that was sent.
    pub offered: InForce,
    /// The set in force.
    pub in_force: InForce,
}
