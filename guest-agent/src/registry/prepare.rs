// SPDX-License-Identifier: Apache-2.0
//! What happens to a rule set before its command: the files that it speaks of are found.
//!
//! The owner's thread serves all containers and must not touch the files of one. So the owner tells
//! where to search, the search runs elsewhere, and its findings go with the command. If the
//! containers are others by then, the owner says so and it begins anew.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use policy_model::RuleSet;
use tokio::{sync::oneshot, task::JoinSet};
use tracing::Instrument as _;

use super::{Arrival, Command, Registry, RootError, Stopped, Verdict};
use crate::{
    apply::{Accepted, Applied, ApplyError},
    containers::{ContainerId, Init},
    identify::{Findings, Site},
    lower::{has_identities, sorted_identities_of},
    reason,
};

/// Searches before a command is given up: containers of one name come one after the other.
const MAX_ROUNDS: usize = 8;

/// Containers of a name, and where their files are.
pub(super) type Sites = Vec<(ContainerId, Init, Result<Site, RootError>)>;

/// A rule set with what was found for it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) set: Accepted,
    pub(super) surveys: Surveys,
}

/// Findings by container.
#[derive(Debug, Default)]
pub(super) struct Surveys(BTreeMap<ContainerId, (Init, Findings)>);

/// Whether files must be found before this set can be put into force.
pub(super) fn needs_search(rules: &RuleSet) -> bool {
    has_identities(rules)
}

// === impl Prepared ===

impl Prepared {
    pub(super) async fn new(set: Accepted, sites: Sites) -> Self {
        let identities: Arc<[_]> = sorted_identities_of(&set.rules).into();
        let started = Instant::now();
        let mut searches = JoinSet::new();
        let mut surveys = Surveys::default();
        for (id, init, site) in sites {
            match site {
                Ok(site) => {
                    let search = site.identify(Arc::clone(&identities));
                    let span = tracing::info_span!("identify", container = %id);
                    searches.spawn(async move { (id, init, search.await) }.instrument(span));
                }
                Err(error) => {
                    let unsearched = vec![format!("all of it: {}", reason::of(&error))];
                    let findings = Findings { unsearched, ..Findings::none() };
                    surveys.0.insert(id, (init, findings));
                }
            }
        }
        for (id, init, findings) in searches.join_all().await {
            let Findings { files, shortfalls, unsearched, passing: _ } = &findings;
            let (found, short) = (files.len(), shortfalls.len());
            let took = started.elapsed();
            tracing::debug!(container = %id, found, short, ?unsearched, ?took, "searched");
            surveys.0.insert(id, (init, findings));
        }
        Self { set, surveys }
    }
}

impl From<Accepted> for Prepared {
    /// For a set that needs no search.
    fn from(set: Accepted) -> Self {
        Self { set, surveys: Surveys::default() }
    }
}

// === impl Surveys ===

impl Surveys {
    /// What was found; nothing where nothing was sought.
    pub(super) fn of(&self, id: &ContainerId) -> &Findings {
        const NONE: &Findings = &Findings {
            files: Vec::new(),
            shortfalls: Vec::new(),
            unsearched: Vec::new(),
            passing: false,
        };
        self.0.get(id).map_or(NONE, |(_, findings)| findings)
    }

    /// Whether another search may find more.
    pub(super) fn are_passing(&self) -> bool {
        self.0.values().any(|(_, findings)| findings.passing)
    }

    /// Whether this container was searched, not one before it of the same id.
    pub(super) fn is_of(&self, id: &ContainerId, init: &Init) -> bool {
        self.0.get(id).is_some_and(|(searched, _)| searched.is_same(init))
    }
}

// === impl Registry ===

impl Registry {
    /// Presents a container; the verdict comes when a rule set for it is in force.
    ///
    /// # Errors
    /// If nothing is enforced here.
    pub async fn announce(&self, arrival: Arrival) -> Result<oneshot::Receiver<Verdict>, Stopped> {
        let (reply, verdict) = oneshot::channel();
        let id = arrival.id.clone();
        self.send(Command::Announce(Box::new(arrival), reply)).await?;
        if let Some(awaited) = self.ask(|reply| Command::Awaited(id.clone(), reply)).await? {
            let span = tracing::info_span!("admit", container = %id);
            // Whoever waits for the verdict may give up meanwhile.
            tokio::spawn(self.clone().admit(id, awaited).instrument(span));
        }
        Ok(verdict)
    }

    /// Puts a rule set into force for the containers of its name, and holds it for later ones.
    ///
    /// # Errors
    /// If it cannot be put into force; what was in force stays.
    pub async fn apply(&self, accepted: Accepted) -> Result<Applied, ApplyError> {
        if !needs_search(&accepted.rules) {
            return self.ask(|reply| Command::Apply(Box::new(accepted.into()), reply)).await?;
        }
        let target = accepted.rules.target.clone();
        for _ in 0..MAX_ROUNDS {
            let sites = self.ask(|reply| Command::Sites(target.clone(), reply)).await?;
            let prepared = Prepared::new(accepted.clone(), sites).await;
            let passing = prepared.surveys.are_passing();
            match self.ask(|reply| Command::Apply(Box::new(prepared), reply)).await? {
                Err(ApplyError::Unsearched(_)) => {}
                Ok(applied) => {
                    self.retry_if(passing, accepted);
                    return Ok(applied);
                }
                applied => return applied,
            }
        }
        Err(ApplyError::Unsearched(target))
    }

    /// Searches for the set that is held, until the container is registered, or what it waits for
    /// is a set that comes later.
    async fn admit(self, id: ContainerId, mut awaited: (Accepted, Sites)) {
        for _ in 0..MAX_ROUNDS {
            let (set, sites) = awaited;
            let (generation, digest) = (set.rules.generation, set.digest);
            let prepared = Box::new(Prepared::new(set.clone(), sites).await);
            let passing = prepared.surveys.are_passing();
            let admit = |reply| Command::Admit(id.clone(), prepared, reply);
            let asked = match self.ask(admit).await {
                Ok(()) => self.ask(|reply| Command::Awaited(id.clone(), reply)).await,
                Err(stopped) => Err(stopped),
            };
            match asked {
                // The same set: it could not be put into force, which the container's reason says.
                Ok(Some((next, _)))
                    if (next.rules.generation, next.digest) == (generation, digest) =>
                {
                    return;
                }
                Ok(Some(next)) => awaited = next,
                Ok(None) => return self.retry_if(passing, set),
                Err(Stopped) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use policy_model::{
        Action, Category, Generation, Match, Object, PathObject, Rule, RuleId, RulePath,
    };

    use super::*;
    use crate::{
        fixtures::{Waiting, accepted, arrival, registry, target, within},
        maps::ResidueReason,
    };

    /// Blocks a file that exists and one that does not.
    fn by_identity(generation: u64) -> Accepted {
        let block = |id, path: &str| {
            let path = RulePath::new(path).unwrap();
            let object = PathObject { path, matching: Match::Identity };
            Rule::new(RuleId(id), Category::Process, Action::Block, Object::Path(object))
        };
        let rules = vec![block(1, "/proc/self/exe"), block(2, "/nonexistent/program")];
        accepted(RuleSet::empty(target(), Generation(generation)).with_rules(rules))
    }

    #[tokio::test]
    async fn a_container_is_searched_for_the_set_that_waits_for_it() {
        let (registry, kernel) = registry();
        assert!(!within(registry.apply(by_identity(1))).await.unwrap().bound);
        let process = Waiting::spawn();
        let verdict = within(registry.announce(arrival("c1", &process))).await.unwrap();
        let permit = within(verdict).await.unwrap().unwrap();
        assert_eq!(permit.in_force.generation, Generation(1));
        kernel.with(|state| {
            let shortfalls = state.findings.iter().flat_map(|findings| &findings.shortfalls);
            let reasons: Vec<_> = shortfalls.map(|short| short.reason).collect();
            assert_eq!(reasons, [ResidueReason::Absent, ResidueReason::Symlink]);
        });
    }

    #[tokio::test]
    async fn a_set_is_searched_for_in_every_container_of_its_name() {
        let (registry, kernel) = registry();
        let (one, other) = (Waiting::spawn(), Waiting::spawn());
        let mut verdicts = Vec::new();
        for (id, process) in [("c1", &one), ("c2", &other)] {
            verdicts.push(within(registry.announce(arrival(id, process))).await.unwrap());
        }
        assert!(within(registry.apply(by_identity(1))).await.unwrap().bound);
        for verdict in verdicts {
            assert!(within(verdict).await.unwrap().is_ok());
        }
        assert!(within(registry.apply(by_identity(2))).await.unwrap().bound);
        kernel.with(|state| {
            assert_eq!(state.findings.len(), 4);
            assert!(state.findings.iter().all(|findings| findings.shortfalls.len() == 2));
        });
    }

    #[tokio::test]
    async fn what_a_later_search_finds_is_held_as_long_as_its_set_is_in_force() {
        let (registry, kernel) = registry();
        let process = Waiting::spawn();
        let _verdict = within(registry.announce(arrival("c1", &process))).await.unwrap();
        let set = by_identity(1);
        assert!(within(registry.apply(set.clone())).await.unwrap().bound);
        let searched = async || {
            let sites = registry.ask(|reply| Command::Sites(target(), reply)).await.unwrap();
            let prepared = Box::new(Prepared::new(set.clone(), sites).await);
            registry.ask(|reply| Command::Renew(prepared, reply)).await.unwrap()
        };
        assert!(within(searched()).await);
        kernel.with(|state| assert_eq!(state.installed.len(), 2));
        assert!(within(registry.apply(by_identity(2))).await.unwrap().bound);
        assert!(!within(searched()).await);
        kernel.with(|state| assert_eq!(state.installed.len(), 3));
    }

    #[tokio::test]
    async fn a_set_that_was_not_searched_for_changes_nothing() {
        let (registry, kernel) = registry();
        let process = Waiting::spawn();
        let _verdict = within(registry.announce(arrival("c1", &process))).await.unwrap();
        let unsearched = Box::new(Prepared::from(by_identity(1)));
        let applied =
            within(registry.ask(|reply| Command::Apply(unsearched, reply))).await.unwrap();
        assert!(matches!(applied, Err(ApplyError::Unsearched(_))));
        kernel.with(|state| assert!(state.installed.is_empty()));
    }
}
