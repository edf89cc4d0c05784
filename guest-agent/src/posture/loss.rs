// SPDX-License-Identifier: Apache-2.0
//! What an agent that enforces may be without. Pure.

use super::Cause;

/// A loss that weakens no rule, and that somebody should know of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Opens are slower. Lasts as long as the kernel runs.
    NamesNotKept,
    /// A cgroup that was to be exempt from the guard is not. Lasts as long as the agent.
    NotExempted {
        /// Which.
        cgroup: String,
        /// Why.
        why: String,
    },
    /// Containers of an earlier agent that this one cannot follow; none: nobody knows how many.
    /// Lasts as long as the agent.
    ContainersLeft(Option<usize>),
    /// The kernel may kill the agent when memory is short. Lasts as long as the agent.
    NotSpared {
        /// Why.
        why: String,
    },
    /// Some decisions go unreported. Ends after a while without.
    EventsLost,
    /// No decision is reported any more. Lasts as long as the agent.
    EventsUnread {
        /// Why.
        why: String,
    },
}

// === impl Loss ===

impl Loss {
    fn reason(&self) -> String {
        match self {
            Self::NamesNotKept => {
                "the kernel does not tell where rename_lock is: verdicts on names \
                                   are found anew at each access, which is slower"
                    .into()
            }
            Self::NotExempted { cgroup, why } => {
                format!("`{cgroup}` is not exempted from the guard, which refuses it: {why}")
            }
            Self::ContainersLeft(how_many) => {
                let how_many = how_many.map_or("some".to_owned(), |number| number.to_string());
                format!(
                    "{how_many} containers of an earlier agent are not known again: they keep their \
                     last rules or are denied, and get no new ones"
                )
            }
            Self::NotSpared { why } => {
                format!("the kernel may kill the agent when memory is short: {why}")
            }
            Self::EventsLost => "events were lost: the ring had no room for them".into(),
            Self::EventsUnread { why } => format!("the event ring cannot be read: {why}"),
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::NamesNotKept => "build the guest kernel with CONFIG_KALLSYMS_ALL",
            Self::NotExempted { .. } => {
                "give --exempt-cgroup the path of a cgroup that exists below the root"
            }
            Self::ContainersLeft(_) => "end those containers, then restart the agent",
            Self::NotSpared { .. } => "give the agent CAP_SYS_RESOURCE",
            Self::EventsLost => {
                "see which container is denied so often, and give the guest more processors"
            }
            Self::EventsUnread { .. } => "restart the agent",
        }
    }
}

impl From<&Loss> for Cause {
    fn from(loss: &Loss) -> Self {
        Self { reason: loss.reason(), remedy: loss.remedy() }
    }
}
