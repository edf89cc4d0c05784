// SPDX-License-Identifier: Apache-2.0
//! Whether this guest enforces, and what is amiss.
//!
//! [`Change`]s flow in from those who find out (the kernel's thread, the event collector), a
//! [`Posture`] flows out over a watch channel to gate, status and health. `Starting` goes to
//! `TakingOver` if an earlier agent's programs are found; both go to `Refusing`, for good, or to
//! `Enforcing`, which changes places with `Degraded` from then on. What a kernel lacks is
//! [`kernel`]'s, whether a denial is real is proved by [`self_test`]. Nothing is decided here about
//! containers.

pub mod kernel;
pub mod self_test;

mod loss;
mod unfit;

use std::{collections::BTreeSet, fmt};

use tokio::sync::watch;

pub use loss::Loss;
pub use unfit::Unfit;

/// What the agent promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posture {
    /// Nothing yet: programs are being loaded and proved.
    Starting,
    /// What an earlier agent put into force stays so; its containers are not known again yet.
    TakingOver,
    /// Nothing: every container is refused.
    Refusing(Vec<Cause>),
    /// That rules in force are enforced.
    Enforcing,
    /// The same, with losses; never without one.
    Degraded(BTreeSet<Loss>),
}

/// Something amiss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What.
    pub reason: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What somebody found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The programs of an earlier agent are in force.
    TakesOver,
    /// Nothing can be enforced.
    Refuses(Vec<Cause>),
    /// All is in force and proved, and every container known again; with these losses.
    Enforces(BTreeSet<Loss>),
    /// Something is lost.
    Loses(Loss),
    /// It no longer is.
    Regains(Loss),
}

/// Where the posture is kept.
#[derive(Clone, Debug)]
pub struct Standing(watch::Sender<Posture>);

// === impl Posture ===

impl Posture {
    /// What follows from a change; none if nothing does: it is no news, or comes too late.
    #[must_use]
    pub fn after(&self, change: Change) -> Option<Self> {
        let next = match (self, change) {
            (Self::Starting, Change::TakesOver) => Self::TakingOver,
            (Self::Starting | Self::TakingOver, Change::Refuses(causes)) => Self::Refusing(causes),
            (Self::Starting | Self::TakingOver, Change::Enforces(losses)) => Self::with(losses),
            (Self::Enforcing, Change::Loses(loss)) => Self::with([loss].into()),
            (Self::Degraded(losses), Change::Loses(loss)) => {
                Self::with(losses.iter().cloned().chain([loss]).collect())
            }
            (Self::Degraded(losses), Change::Regains(loss)) => {
                Self::with(losses.iter().filter(|known| **known != loss).cloned().collect())
            }
            _ => return None,
        };
        (next != *self).then_some(next)
    }

    fn with(losses: BTreeSet<Loss>) -> Self {
        if losses.is_empty() { Self::Enforcing } else { Self::Degraded(losses) }
    }

    /// Whether rules are put into force now.
    #[must_use]
    pub fn enforces(&self) -> bool {
        matches!(self, Self::Enforcing | Self::Degraded(_))
    }

    /// Whether it is known what becomes of a container.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::Starting | Self::TakingOver)
    }

    /// Why less than all is promised, and what to do; empty if all is.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Starting => "the agent is starting".into(),
            Self::TakingOver => {
                "the agent is taking over from an earlier one, whose rules stay in force".into()
            }
            Self::Refusing(causes) => sentence(causes.iter()),
            Self::Enforcing => String::new(),
            Self::Degraded(losses) => sentence(losses.iter().map(Cause::from)),
        }
    }

    fn log(&self) {
        let reason = self.reason();
        match self {
            Self::Starting => {}
            Self::TakingOver => tracing::info!(reason, "taking over"),
            Self::Refusing(_) => tracing::error!(reason, "refusing every container"),
            Self::Enforcing => tracing::info!("enforcing"),
            Self::Degraded(_) => tracing::warn!(reason, "enforcing, degraded"),
        }
    }
}

/// All causes in their order.
fn sentence(causes: impl Iterator<Item = impl fmt::Display>) -> String {
    let causes: Vec<_> = causes.map(|cause| cause.to_string()).collect();
    causes.join(". ")
}

// === impl Cause ===

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, remedy } = self;
        write!(f, "{reason}; {remedy}")
    }
}

// === impl Standing ===

impl Standing {
    /// Starting, and where to follow it.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Posture>) {
        let (posture, follow) = watch::channel(Posture::Starting);
        (Self(posture), follow)
    }

    /// Takes a change, and logs what follows from it.
    pub fn change(&self, change: Change) {
        self.0.send_if_modified(|posture| {
            let Some(next) = posture.after(change) else { return false };
            next.log();
            *posture = next;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusing() -> Posture {
        Posture::Refusing(vec![Cause { reason: "no BPF".into(), remedy: "boot with it" }])
    }

    fn degraded(losses: &[Loss]) -> Posture {
        Posture::Degraded(losses.iter().cloned().collect())
    }

    fn enforces(losses: &[Loss]) -> Change {
        Change::Enforces(losses.iter().cloned().collect())
    }

    #[test]
    fn each_posture_takes_the_changes_that_are_legal_and_no_other() {
        use Posture::{Enforcing, Starting, TakingOver};
        let refuses = || {
            let Posture::Refusing(causes) = refusing() else { unreachable!() };
            Change::Refuses(causes)
        };
        let one = Loss::EventsLost;
        let postures = [Starting, TakingOver, refusing(), Enforcing, degraded(&[Loss::EventsLost])];
        let changes = [
            (Change::TakesOver, [Some(TakingOver), None, None, None, None]),
            (refuses(), [Some(refusing()), Some(refusing()), None, None, None]),
            (enforces(&[]), [Some(Enforcing), Some(Enforcing), None, None, None]),
            (
                Change::Loses(one.clone()),
                [None, None, None, Some(degraded(std::slice::from_ref(&one))), None],
            ),
            (Change::Regains(one), [None, None, None, None, Some(Enforcing)]),
        ];
        for (change, expected) in changes {
            let after = postures.each_ref().map(|posture| posture.after(change.clone()));
            assert_eq!(after, expected, "{change:?}");
        }
    }

    #[test]
    fn losses_add_up_and_enforcing_is_reached_when_the_last_one_ends() {
        let (standing, posture) = Standing::new();
        standing.change(enforces(&[Loss::NamesNotKept]));
        standing.change(Change::Loses(Loss::EventsLost));
        assert_eq!(*posture.borrow(), degraded(&[Loss::NamesNotKept, Loss::EventsLost]));
        let reason = posture.borrow().reason();
        assert!(reason.contains("CONFIG_KALLSYMS_ALL") && reason.contains("ring"), "{reason}");
        standing.change(Change::Regains(Loss::NamesNotKept));
        standing.change(Change::Regains(Loss::EventsLost));
        assert_eq!(*posture.borrow(), Posture::Enforcing);
        assert_eq!(posture.borrow().reason(), "");
    }

    #[test]
    fn what_is_no_news_wakes_nobody() {
        let (standing, mut posture) = Standing::new();
        standing.change(enforces(&[Loss::EventsLost]));
        posture.mark_unchanged();
        standing.change(Change::Loses(Loss::EventsLost));
        standing.change(Change::TakesOver);
        assert!(!posture.has_changed().unwrap());
    }
}
