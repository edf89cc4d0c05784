// SPDX-License-Identifier: Apache-2.0
//! Whether this guest enforces, and why not.
//!
//! The kernel's facts flow in, a [`Posture`] flows out over a watch channel. `Starting` goes to
//! `Enforcing` or to `Refusing`, once. A kernel without BPF LSM in its active list loads and
//! attaches programs and calls none of them, so a denial is proved before anything is promised.

pub mod self_test;

use std::{fs, io, path::Path};

use crate::{
    loader::LoadError, mounts::MountError, posture::self_test::SelfTestError, reason,
    trust::TrustError,
};

/// What the agent promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posture {
    /// Nothing yet: programs are being loaded and proved.
    Starting,
    /// Nothing: every container is refused.
    Refusing {
        /// Why.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// That rules in force are enforced.
    Enforcing,
}

/// Why this guest cannot enforce.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The kernel does not say which security modules are active.
    #[error("reading {LSM_LIST}")]
    LsmList(#[source] io::Error),
    /// BPF is not among them.
    #[error("BPF is not an active security module: the kernel has `{0}`")]
    NoBpfLsm(String),
    /// The kernel tells nothing about its types.
    #[error("the kernel has no BTF: {BTF} is missing")]
    NoBtf,
    /// There is nobody to obey.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The pins would not stay.
    #[error(transparent)]
    Mounts(#[from] MountError),
    /// The programs are not in the kernel.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// They are, and deny nothing.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
}

const LSM_LIST: &str = "/sys/kernel/security/lsm";
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Checks what loading would not show.
///
/// # Errors
/// If programs could be loaded and yet not enforce.
pub fn check_kernel() -> Result<(), Unfit> {
    check_lsm(&fs::read_to_string(LSM_LIST).map_err(Unfit::LsmList)?)?;
    if Path::new(BTF).exists() { Ok(()) } else { Err(Unfit::NoBtf) }
}

fn check_lsm(active: &str) -> Result<(), Unfit> {
    let active = active.trim();
    if active.split(',').any(|module| module == "bpf") {
        Ok(())
    } else {
        Err(Unfit::NoBpfLsm(active.into()))
    }
}

// === impl Unfit ===

impl Unfit {
    fn remedy(&self) -> &'static str {
        match self {
            Self::LsmList(_) => "build the guest kernel with CONFIG_SECURITYFS",
            Self::NoBpfLsm(_) => "boot the guest with `bpf` in lsm= and forbid pods to change it",
            Self::NoBtf => "build the guest kernel with CONFIG_DEBUG_INFO_BTF",
            Self::Trust(TrustError::Read(_) | TrustError::Directory(_) | TrustError::Write(_)) => {
                "make the directory of --guest-key writable, in memory and for root alone"
            }
            Self::Trust(_) => {
                "boot the guest with `kadapter.relay_key=` and what `kadapter-relay pin` prints, \
                 and forbid pods to change it"
            }
            Self::Mounts(MountError::PrivateNamespace) => {
                "start the agent without PrivateMounts and the like"
            }
            Self::Mounts(_) => "mount bpffs and securityfs, or build the guest kernel with them",
            Self::Load(_) => "compare the guest kernel's configuration with Kadapter's fragment",
            Self::SelfTest(_) => {
                "compare the guest kernel's configuration with Kadapter's fragment"
            }
        }
    }
}

impl From<&Unfit> for Posture {
    fn from(unfit: &Unfit) -> Self {
        Self::Refusing { reason: reason::of(unfit), remedy: unfit.remedy() }
    }
}

// === impl Posture ===

impl Posture {
    /// Why nothing is promised, in a sentence; empty if it is.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Starting => "the agent is starting".into(),
            Self::Refusing { reason, remedy } => format!("{reason}; {remedy}"),
            Self::Enforcing => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_must_be_an_active_module_by_its_whole_name() {
        assert!(check_lsm("lockdown,capability,bpf\n").is_ok());
        let error = check_lsm("capability,bpfx\n").unwrap_err();
        assert!(error.to_string().contains("`capability,bpfx`"));
        let posture = Posture::from(&error);
        assert!(posture.reason().contains("lsm="), "{posture:?}");
    }
}
