// SPDX-License-Identifier: Apache-2.0
//! What the programs look up in a plan, and what comes of it: `lib/walk.h`, `lib/object.h`,
//! `lib/applet.h`, `lib/arguments.h` and `lib/decide.h` in Rust.

use guest_bpf::abi;
use policy_model::{
    Access, Category, Content, Reason, RuleId, RulePath, Verdict,
    applet::{Invocation, invocation},
    eval::Decision,
};

use crate::lower::{Identity, Judged, JudgedArguments, JudgedClass, Plan};

/// Looks a plan up as the programs do.
pub(super) struct Kernel<'a>(pub(super) &'a Plan<'a>);

// === impl Kernel ===

impl Kernel<'_> {
    pub(super) fn decide(&self, access: &Access<'_>, dev: u32) -> Decision {
        let subject = access.exe.map_or(0, |exe| self.subject(self.class(dev, exe)));
        let category = match access.category {
            Category::Process => abi::PROCESS,
            _ => abi::FILE,
        };
        let class = access.path.map_or(0, |path| self.class(dev, path));
        let named = (class as usize).checked_sub(1).and_then(|at| self.0.classes.get(at));
        let listed = self.0.arguments.iter().find(|(number, _)| *number == class);
        let listed = listed.and_then(|(_, arguments)| by_lists(arguments, access.argv));
        let held: Vec<_> =
            access
                .identities
                .iter()
                .flat_map(|path| [Identity::Path(path.clone()), Identity::Binary(path.clone())])
                .chain(access.contents.iter().map(|Content { sha256, size }| Identity::Content {
                    sha256: *sha256,
                    size: *size,
                }))
                .flat_map(|identity| self.0.identities.get(&identity).cloned().unwrap_or_default())
                .collect();
        let held = self.judge(&held, access);
        let name = listed.or(named).and_then(|class| find(class, category, subject));
        self.combine(name, find(&held, category, subject), access.category)
    }

    /// As `lib/applet.h` finds the class of a binary's applet.
    fn judge(&self, rules: &[usize], access: &Access<'_>) -> JudgedClass {
        let by_itself = self.0.judge.judge(rules);
        let listed = |judged: Judged| {
            let listed = judged.arguments.as_ref().and_then(|found| by_lists(found, access.argv));
            listed.cloned().unwrap_or(judged.by_itself)
        };
        let Some(mut applets) = self.0.judge.judge_applets(rules) else {
            return listed(by_itself);
        };
        let asked = match access.argv.map_or(Invocation::Unknown, invocation) {
            Invocation::Applet(name) => applets.by_name.remove(name),
            Invocation::Binary => None,
            Invocation::Unknown => Some(applets.any),
        };
        listed(asked.unwrap_or(by_itself))
    }

    /// Whether a guard keeps what has this name.
    pub(super) fn is_kept(&self, path: &RulePath, dev: u32) -> bool {
        let class = (self.class(dev, path) as usize).checked_sub(1);
        let class = class.and_then(|at| self.0.classes.get(at));
        class.is_some_and(|class| find(class, abi::PERMITTED, 0).is_some())
    }

    /// Flags of this place.
    pub(super) fn flags(&self, path: &RulePath, dev: u32) -> u32 {
        let (node, below) = self.node(dev, path);
        if below == 0 { node.flags } else { 0 }
    }

    fn class(&self, dev: u32, path: &RulePath) -> u32 {
        let (node, below) = self.node(dev, path);
        match below {
            0 => node.exact,
            1 => node.child,
            _ => node.deep,
        }
    }

    /// The deepest node on the way to a path, and how far below it that is.
    fn node(&self, dev: u32, path: &RulePath) -> (abi::Node, usize) {
        let places = &self.0.places;
        let child = |parent: Option<usize>, name: &str| {
            places.iter().position(|planned| {
                let place = &planned.place;
                place.dev == dev && place.parent == parent && place.name == name
            })
        };
        let mut last = child(None, "").unwrap();
        let mut found = 0;
        for name in path.components() {
            let Some(next) = child(Some(last), name) else { break };
            (last, found) = (next, found + 1);
        }
        (places[last].node, path.depth() - found)
    }

    fn subject(&self, class: u32) -> u32 {
        let found = self.0.subjects.iter().find(|(known, _)| *known == class);
        found.map_or(0, |(_, subject)| *subject)
    }

    fn combine(
        &self,
        name: Option<abi::Decision>,
        held: Option<abi::Decision>,
        category: Category,
    ) -> Decision {
        let (first, second) = match (name, held) {
            (Some(name), Some(held)) if (held.rank, held.verdict) > (name.rank, name.verdict) => {
                (held, Some(name))
            }
            (Some(name), held) => (name, held),
            (None, Some(held)) => (held, None),
            (None, None) => return self.unmatched(category),
        };
        let also = second.filter(|second| {
            second.rank == first.rank
                && (second.verdict > abi::VERDICT_ALLOW || first.verdict == abi::VERDICT_ALLOW)
        });
        let mut rules: Vec<_> = std::iter::once(first)
            .chain(also)
            .flat_map(|decision| decision.rules[..decision.rules_len.into()].to_vec())
            .map(RuleId)
            .collect();
        rules.sort_unstable();
        rules.dedup();
        Decision { verdict: verdict(first.verdict), reason: Some(Reason::Rule), rules }
    }

    fn unmatched(&self, category: Category) -> Decision {
        let default = match category {
            Category::Process => self.0.process_default,
            _ => self.0.file_default,
        };
        let reason = (default != abi::VERDICT_NONE).then_some(Reason::Posture);
        Decision { verdict: verdict(default), reason, rules: Vec::new() }
    }
}

/// As `lib/arguments.h` strikes the lists that lack an argument.
fn by_lists<'a>(judged: &'a JudgedArguments, argv: Option<&[String]>) -> Option<&'a JudgedClass> {
    let counted = match argv? {
        [_, arguments @ ..] if !arguments.is_empty() => arguments,
        argv => argv,
    };
    let lists_of = |word| judged.lists_of.get(word).copied().unwrap_or_default();
    let left = counted.iter().fold(judged.all, |left, word| left & lists_of(word));
    // An exec without a name has one that is empty: the kernel gives it.
    judged.by_lists.get(&left).filter(|_| !counted.is_empty())
}

fn find(class: &JudgedClass, category: u32, subject: u32) -> Option<abi::Decision> {
    let exactly = |subject| {
        let found = class.decisions.iter().find(|(of, who, _)| (*of, *who) == (category, subject));
        found.map(|(_, _, decision)| *decision)
    };
    exactly(subject).or_else(|| exactly(0))
}

fn verdict(number: u8) -> Verdict {
    match number {
        abi::VERDICT_BLOCK => Verdict::Block,
        abi::VERDICT_AUDIT => Verdict::Audit,
        _ => Verdict::Allow,
    }
}
