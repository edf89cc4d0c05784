// SPDX-License-Identifier: Apache-2.0
//! Why this guest cannot enforce, and what to do about it. Pure.

use std::io;

use rustix::io::Errno;

use super::{Cause, kernel::Missing, self_test::SelfTestError};
use crate::{
    apply::ApplyError, loader::LoadError, maps::InstallError, mounts::MountError, reason,
    trust::TrustError,
};

/// Why this guest cannot enforce.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The kernel does not say which security modules are active.
    #[error("reading the list of active security modules")]
    LsmList(#[source] io::Error),
    /// It lacks something.
    #[error("the kernel does not suffice")]
    Kernel(Vec<Missing>),
    /// There is nobody to obey.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The pins would not stay.
    #[error(transparent)]
    Mounts(#[from] MountError),
    /// The programs are not in the kernel.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// They are in the kernel already, and this agent cannot go on with them.
    #[error("the programs of the agent before this one stay in force and cannot be taken over")]
    TakeOver(#[source] LoadError),
    /// They are, and deny nothing.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
}

// === impl Unfit ===

impl Unfit {
    /// Everything that is amiss.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        match self {
            Self::Kernel(missing) => missing.iter().map(Cause::from).collect(),
            _ => vec![Cause { reason: reason::of(self), remedy: self.remedy() }],
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::LsmList(_) => "build the guest kernel with CONFIG_SECURITYFS",
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
            Self::Mounts(_) => {
                "mount bpffs and securityfs, or build the guest kernel with CONFIG_BPF_SYSCALL and \
                 CONFIG_SECURITYFS"
            }
            Self::TakeOver(_) | Self::Load(LoadError::Incomplete { .. }) => {
                "restart the guest; until then what is in force stays and no container starts"
            }
            Self::Load(LoadError::OtherVersion(_)) => {
                "restart the guest, or start the agent of that version again; until then what is in \
                 force stays and no container starts"
            }
            Self::Load(LoadError::Hook(_)) => {
                "boot the guest with a kernel of a line that Kadapter is tested on \
                 (guest-kernel/README.md)"
            }
            Self::Load(LoadError::Kfunc(_)) => "boot the guest with Linux 6.12 or newer",
            Self::Load(error) => match error.errno() {
                Some(Errno::NOMEM) => "give the guest more memory",
                // The kernel finds no call site to patch.
                Some(Errno::BUSY) => {
                    "build the guest kernel with CONFIG_FUNCTION_TRACER and CONFIG_DYNAMIC_FTRACE"
                }
                _ => COMPARE,
            },
            Self::SelfTest(SelfTestError::Rules(
                ApplyError::Inspect(_)
                | ApplyError::Lower(_)
                | ApplyError::Install(InstallError::Collisions),
            )) => REPORT,
            Self::SelfTest(SelfTestError::Processor(_)) => {
                "give the guest's machine a processor that has it (`cx16` in /proc/cpuinfo)"
            }
            Self::Kernel(_) | Self::SelfTest(_) => COMPARE,
        }
    }
}

const COMPARE: &str = "compare the guest kernel's configuration with Kadapter's fragment \
                       (guest-kernel/enforce.conf)";

/// The agent could not make sense of the guest's mounts.
const REPORT: &str = "the kernel is not the cause: report this with the guest's /proc/1/mountinfo";

impl From<Vec<Missing>> for Unfit {
    fn from(missing: Vec<Missing>) -> Self {
        Self::Kernel(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::MapsError;

    fn attaching(errno: Errno) -> Unfit {
        let source = Box::new(io::Error::from(errno));
        LoadError::Program { operation: "attaching", hook: "file_open", source }.into()
    }

    #[test]
    fn programs_that_stay_in_force_are_no_fault_of_the_kernels_configuration() {
        let pins = || std::path::PathBuf::from("/sys/fs/bpf/kadapter");
        let missing = vec!["link_file_open".to_owned()];
        let other = Unfit::Load(LoadError::OtherVersion(pins()));
        let less = Unfit::Load(LoadError::Incomplete { pins: pins(), missing });
        let unread = Unfit::TakeOver(MapsError::Full.into());
        for unfit in [other, less, unread] {
            let Cause { reason, remedy } = &unfit.causes()[0];
            assert!(remedy.contains("restart the guest") && !remedy.contains("enforce.conf"));
            let stays = ["go on enforcing", "goes on enforcing", "stay in force"];
            assert!(stays.iter().any(|words| reason.contains(words)), "{reason}");
        }
    }

    #[test]
    fn what_the_guests_mounts_cause_is_not_blamed_on_the_kernel() {
        let rules = |error: ApplyError| Unfit::from(SelfTestError::from(error)).causes()[0].remedy;
        let remedy = rules(InstallError::Collisions.into());
        assert!(remedy.contains("/proc/1/mountinfo") && !remedy.contains("enforce.conf"));
        assert!(rules(ApplyError::Stopped(crate::registry::Stopped)).contains("enforce.conf"));
    }

    #[test]
    fn labels_that_cannot_be_kept_have_the_processor_as_reason() {
        let source = io::Error::from(Errno::NOMEM);
        let source = MapsError::Task { operation: "labelling", pid: 7, source };
        let [cause] = &Unfit::from(SelfTestError::Processor(source)).causes()[..] else { panic!() };
        assert!(cause.reason.contains("the kernel keeps no labels of tasks"), "{}", cause.reason);
        assert!(cause.reason.contains("labelling of pid 7"), "{}", cause.reason);
        assert!(cause.remedy.contains("cx16"), "{}", cause.remedy);
    }

    #[test]
    fn an_error_number_of_the_kernel_has_the_remedy_of_what_it_stands_for() {
        let remedy = |errno| attaching(errno).causes()[0].remedy;
        assert!(remedy(Errno::BUSY).contains("CONFIG_FUNCTION_TRACER"));
        assert!(remedy(Errno::NOMEM).contains("memory"));
        assert!(remedy(Errno::INVAL).contains("enforce.conf"));
        let reason = &attaching(Errno::BUSY).causes()[0].reason;
        assert!(reason.contains("attaching the program of hook `file_open`"), "{reason}");
    }
}
