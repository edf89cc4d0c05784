// SPDX-License-Identifier: Apache-2.0
//! Inodes held by identity: recorded by the kernel while they are opened, carried from set to set.
//!
//! The kernel's `probes` names the thread that opens, and `file_open` records every inode that this
//! open touches, on an overlay the layer's too, which no stat(2) tells. An inode that a set holds
//! for a name is held by the next one too, wherever it is by then: it is never looked for again.
//! What each class is held for is kept beside them, for an agent that takes over.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    os::fd::OwnedFd,
    sync::Arc,
};

use guest_bpf::abi;
use policy_model::{Category, RuleId};
use rustix::fs::fstatfs;

use super::{
    InstallError, Maps, MapsError, failed, holding::Holding, ignore_absent, install::Installed,
};
use crate::{
    identify::{Access, Findings, Found, Inode},
    lower::{Identity, Plan, has_unknown_lists},
    reason,
};

/// include/uapi/linux/magic.h
const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

/// File systems whose inodes keep their numbers, as `keeps_names` of the programs' `lib/identity.h` has
/// them: tmpfs, ramfs, ext4, xfs, erofs, overlay. Elsewhere a token stands for an inode.
const KEEP_NUMBERS: [i64; 6] =
    [0x0102_1994, 0x8584_58f6, 0xef53, 0x5846_5342, 0xe0f5_e1e2, OVERLAYFS_SUPER_MAGIC];

/// Places that one residue names.
const MAX_PLACES: usize = 4;

/// A rule that could not be put into force as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residue {
    /// The rule; number zero stands for all of the set.
    pub rule: RuleId,
    /// Why.
    pub reason: ResidueReason,
    /// The path, and what was found.
    pub detail: String,
}

/// Why a rule holds in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidueReason {
    /// There is no such file now.
    Absent,
    /// The inode stands for other programs too.
    ManyNames,
    /// A component of the path is a symbolic link.
    Symlink,
    /// It could not be opened, or is no regular file.
    Unreadable,
    /// Files of equal content may be where it could not be looked.
    NotSearched,
    /// Its path leads to a mount on which the engine knows no places.
    Nowhere,
    /// The mounts of now cannot be read; it holds on those of the registration.
    MountsUnread,
}

/// An identity as a number: the keyed hash of what it is.
pub(super) type Tag = u64;

/// An inode that is kept, so that its number, or its token, is not lost.
#[derive(Clone, Debug)]
pub(super) struct Held {
    inode: Inode,
    tags: BTreeSet<Tag>,
    file: Arc<OwnedFd>,
    /// Whether it must outlive the agent, and does not yet.
    mortal: bool,
}

/// What came of an attempt to let the kernel record a file.
enum Recorded {
    All,
    /// The file itself, but perhaps not that of the layer behind it.
    Partly(String),
    Not(String),
}

// === impl Maps ===

impl Maps {
    /// Lets the kernel record what was found and what the set before holds; tells what is missing.
    pub(super) fn hold(
        &mut self,
        next: &mut Installed,
        plan: &Plan<'_>,
        findings: &Findings,
    ) -> Result<Vec<Residue>, InstallError> {
        let mut residues = residues_of(plan, findings);
        if !findings.files.is_empty() {
            residues.extend(self.record_all(next, plan, findings)?);
        }
        self.carry(next, plan)?;
        if let Err(error) = self.keep(next) {
            let why = format!("it is held as long as the agent lives: {error}");
            let identities = findings.files.iter().flat_map(|found| &found.identities);
            residues.extend(identities.flat_map(|identity| {
                residues_for(plan, identity, ResidueReason::Unreadable, &why)
            }));
        }
        Ok(residues)
    }

    /// Has open what a token stands for, whatever becomes of the agent.
    fn keep(&mut self, next: &mut Installed) -> io::Result<()> {
        let mortal = next.held.iter().filter(|held| held.mortal).map(|held| &*held.file);
        self.keeper.keep(next.slot.container, mortal)?;
        next.held.iter_mut().for_each(|held| held.mortal = false);
        Ok(())
    }

    fn record_all(
        &mut self,
        next: &mut Installed,
        plan: &Plan<'_>,
        findings: &Findings,
    ) -> Result<Vec<Residue>, InstallError> {
        let mut residues = Vec::new();
        let holding = self.holding(plan);
        self.opener.begin();
        for found in &findings.files {
            let recorded = self.record(next, &holding, found)?;
            if !matches!(recorded, Recorded::Not(_)) {
                let (tags, file) = (self.tags(&holding, found), Arc::clone(&found.file));
                let mortal = !keeps_numbers(&file);
                next.held.push(Held { inode: found.inode, tags, file, mortal });
            }
            if let Recorded::Partly(reason) | Recorded::Not(reason) = recorded {
                residues.extend(found.identities.iter().flat_map(|identity| {
                    residues_for(plan, identity, ResidueReason::Unreadable, &reason)
                }));
            }
        }
        Ok(residues)
    }

    /// Records under the set to come what the set in force holds of what it is to hold, also what
    /// the kernel added to it by itself.
    pub(super) fn carry(&mut self, next: &mut Installed, plan: &Plan<'_>) -> Result<(), MapsError> {
        let Some(old) = self.installed.get(&next.slot.index) else { return Ok(()) };
        if old.identities.is_empty() {
            return Ok(());
        }
        let holding = self.holding(plan);
        let kept = |tags: &BTreeSet<Tag>| -> BTreeSet<Tag> {
            tags.iter().copied().filter(|tag| holding.rules.contains_key(tag)).collect()
        };
        let by_class: HashMap<u32, BTreeSet<Tag>> =
            old.identities.iter().map(|(tags, class)| (*class, kept(tags))).collect();
        if by_class.values().all(BTreeSet::is_empty) {
            return Ok(());
        }
        let known: BTreeSet<_> = next.held.iter().map(|held| held.inode).collect();
        let held = old.held.iter().filter(|held| !known.contains(&held.inode));
        let held = held.map(|held| Held { tags: kept(&held.tags), ..held.clone() });
        next.held.extend(held.filter(|held| !held.tags.is_empty()));
        let set = old.set;
        let entries: Result<Vec<_>, _> = self.inodes.iter().collect();
        for (key, class) in entries.map_err(failed("reading an identity"))? {
            let is_inode = key.set == set && key.dev < abi::DEV_INODELESS;
            let tags = by_class.get(&class).filter(|tags| is_inode && !tags.is_empty());
            if let Some(tags) = tags {
                self.carry_inode(next, &holding, (key, tags.clone()))?;
            }
        }
        Ok(())
    }

    /// The inode may be held already: then for both.
    fn carry_inode(
        &mut self,
        next: &mut Installed,
        holding: &Holding<'_>,
        (key, mut tags): (abi::InodeKey, BTreeSet<Tag>),
    ) -> Result<(), MapsError> {
        let key = abi::InodeKey { set: next.set, ..key };
        let known = self.inodes.get(&key, 0).ok();
        tags.extend(known.and_then(|class| next.tags_of(class)).into_iter().flatten().copied());
        let class = self.class_of(next, holding, tags)?;
        if known == Some(class) {
            return Ok(());
        }
        self.inodes.insert(key, class, 0).map_err(failed("carrying an identity over"))
    }

    /// Opens a file while the kernel watches. What an inode is held for already, as the layer's of two
    /// files of an overlay, it is held for too.
    fn record(
        &mut self,
        next: &mut Installed,
        holding: &Holding<'_>,
        found: &Found,
    ) -> Result<Recorded, InstallError> {
        let mut tags = self.tags(holding, found);
        loop {
            let class = self.class_of(next, holding, tags.clone())?;
            let container = next.slot.container;
            let (probe, opened) = match self.opener.thread(container) {
                Ok(thread) => self.probe(
                    abi::Probe { thread, set: next.set, class_id: class, ..abi::Probe::default() },
                    (container, found),
                )?,
                Err(error) => return Ok(Recorded::Not(error.to_string())),
            };
            let abi::Probe { seen, failed, .. } = probe;
            if let (0, Err(error)) = (seen + failed, &opened) {
                return Ok(Recorded::Not(error.to_string()));
            }
            if seen == 0 || failed > 0 {
                return Err(InstallError::Identity {
                    identity: names_of(found),
                    reason: format!("the kernel recorded {seen} inodes and lost {failed}"),
                });
            }
            let met = next.tags_of(probe.met).cloned().unwrap_or_default();
            if met.is_subset(&tags) {
                return Ok(recorded(found, opened));
            }
            tags.extend(met);
        }
    }

    fn probe(
        &mut self,
        probe: abi::Probe,
        (container, found): (u32, &Found),
    ) -> Result<(abi::Probe, io::Result<()>), MapsError> {
        self.probes.set(0, probe, 0).map_err(failed("announcing an open"))?;
        let hangs = matches!(found.access, Access::Hangs);
        let opened = self.opener.open(container, &found.file, hangs);
        let probe = self.probes.get(&0, 0).map_err(failed("reading what an open showed"));
        self.end_probe()?;
        Ok((probe?, opened))
    }

    /// From now on what the agent opens is nobody's identity.
    pub(super) fn end_probe(&mut self) -> Result<(), MapsError> {
        self.probes.set(0, abi::Probe::default(), 0).map_err(failed("ending an open"))
    }

    /// Class of what is held for exactly these identities.
    fn class_of(
        &mut self,
        next: &mut Installed,
        holding: &Holding<'_>,
        tags: BTreeSet<Tag>,
    ) -> Result<u32, MapsError> {
        if let Some(class) = next.identities.get(&tags) {
            return Ok(*class);
        }
        let rules = holding.held_rules(&tags);
        let permitting =
            holding.rules_of(&tags, |identity| matches!(identity, Identity::Permitted(_)));
        let judge = &holding.plan.judge;
        if has_unknown_lists(judge, &rules) {
            let rules = holding.plan.ids(&rules);
            tracing::warn!(?rules, "one file has too many lists of arguments: some permit nothing");
        }
        let class = self.write_judged(next, &judge.judge_held(&rules, &permitting))?;
        if let Some(applets) = judge.judge_applets(&rules) {
            self.write_applets(next, class, &applets)?;
        }
        self.write_actors(next, holding, (&tags, class))?;
        for tag in &tags {
            self.write_inodeless(next.set, (abi::DEV_NONE, *tag, class), class)?;
        }
        next.identities.insert(tags, class);
        Ok(class)
    }

    pub(super) fn erase_identities(&mut self, set: u32) -> Result<(), MapsError> {
        let keys: Vec<_> = self.inodes.keys().filter_map(Result::ok).collect();
        for key in keys.into_iter().filter(|key| key.set == set) {
            ignore_absent(self.inodes.remove(&key)).map_err(failed("erasing an identity"))?;
        }
        Ok(())
    }
}

// === impl Installed ===

impl Installed {
    fn tags_of(&self, class: u32) -> Option<&BTreeSet<Tag>> {
        self.identities.iter().find(|(_, known)| **known == class).map(|(tags, _)| tags)
    }
}

/// A file whose open was recorded, but did not come back, or met a lease: an overlay's opens that of
/// its layer only later.
fn recorded(found: &Found, opened: io::Result<()>) -> Recorded {
    let is_overlay = || fstatfs(&*found.file).is_ok_and(|fs| fs.f_type == OVERLAYFS_SUPER_MAGIC);
    match opened {
        Err(error) if is_overlay() => {
            Recorded::Partly(format!("it is held, its overlay's layer perhaps not: {error}"))
        }
        _ => Recorded::All,
    }
}

fn keeps_numbers(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|fs| KEEP_NUMBERS.contains(&fs.f_type))
}

fn names_of(found: &Found) -> String {
    let names: Vec<_> = found.identities.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn residues_of(plan: &Plan<'_>, findings: &Findings) -> Vec<Residue> {
    let mut residues = Vec::new();
    for short in &findings.shortfalls {
        match &short.identity {
            Identity::Path(path)
                if short.reason == ResidueReason::Symlink && plan.is_linked(path) =>
            {
                residues.extend(of_linked(plan, &short.identity));
            }
            identity => residues.extend(residues_for(plan, identity, short.reason, &short.detail)),
        }
    }
    if !findings.unsearched.is_empty() {
        let shown: Vec<_> =
            findings.unsearched.iter().take(MAX_PLACES).map(String::as_str).collect();
        let more = findings.unsearched.len() - shown.len();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let detail = format!("equal content was not looked for in {}{more}", shown.join("; "));
        let mut identities: Vec<_> = plan.identities.keys().collect();
        identities.sort_unstable();
        for identity in identities {
            residues.extend(residues_for(plan, identity, ResidueReason::NotSearched, &detail));
        }
    }
    residues
}

/// Of a file that an atomic writer links, as of each key of a ConfigMap. A rule by its name holds for
/// what the link leads to, now and later, and who may not open it cannot copy it either. What may not
/// be executed can still be read.
fn of_linked(plan: &Plan<'_>, identity: &Identity) -> Vec<Residue> {
    let rules = plan.identities.get(identity).map(Vec::as_slice).unwrap_or_default();
    let is_program = |index: &usize| {
        plan.judge.rule(*index).is_some_and(|rule| rule.category == Category::Process)
    };
    let programs: Vec<_> = rules.iter().copied().filter(is_program).collect();
    let detail = format!("{identity}: of a volume that is replaced as a whole, held by name alone");
    let reason = ResidueReason::Symlink;
    let residue = |rule| Residue { rule, reason, detail: detail.clone() };
    plan.ids(&programs).into_iter().map(residue).collect()
}

/// What is left of a set that is in force, if what the one before held was not carried over once more.
pub(crate) fn not_carried(plan: &Plan<'_>, error: &MapsError) -> Vec<Residue> {
    let error = reason::of(error);
    tracing::error!(error, "files that were copied up meanwhile may not be held");
    let detail = format!("a file copied up while the rules changed may not be held: {error}");
    let mut identities: Vec<_> = plan.identities.keys().collect();
    identities.sort_unstable();
    let residues = identities
        .into_iter()
        .flat_map(|identity| residues_for(plan, identity, ResidueReason::NotSearched, &detail));
    residues.collect()
}

fn residues_for(
    plan: &Plan<'_>,
    identity: &Identity,
    reason: ResidueReason,
    detail: &str,
) -> Vec<Residue> {
    let rules = plan.identities.get(identity).map(Vec::as_slice).unwrap_or_default();
    let residue = |rule| Residue { rule, reason, detail: format!("{identity}: {detail}") };
    plan.ids(rules).into_iter().map(residue).collect()
}

/// Classes of a set, by what they are held for.
pub(super) type Identities = BTreeMap<BTreeSet<Tag>, u32>;

#[cfg(test)]
mod tests;
