// SPDX-License-Identifier: Apache-2.0
//! Which options a level asks for, and for the sake of which rules.

use policy_model::{Action, Category, Object};

use super::{Hold, Level, hold, written};
use crate::{
    effective::{EffectiveOption, EffectivePolicy, EffectiveRule, Layer, Switch},
    finding::Code,
};

/// What is asked for if a level is reached and some rule needs it.
struct Need {
    from: Level,
    finding: Code,
    switches: &'static [Switch],
    of: fn(&EffectiveRule) -> bool,
}

const NEEDS: [Need; 6] = [
    // Also for directories: what lies in them is known by its name alone.
    Need {
        from: Level::Base,
        finding: Code::Hardened,
        switches: &[Switch::NameGuardObject],
        of: is_block,
    },
    Need {
        from: Level::Base,
        finding: Code::Hardened,
        switches: &[Switch::Hold],
        of: |entry| is_block(entry) && (is_of_directory(entry) || !entry.rule.sources.is_empty()),
    },
    Need {
        from: Level::Contained,
        finding: Code::Hardened,
        switches: &[Switch::DenyReads],
        of: |entry| {
            let is_held = matches!(hold(&entry.rule), Hold::Identity(_)) || is_of_directory(entry);
            is_blocked_program(entry) && is_held
        },
    },
    // Who may not be denied the reading of a program is denied running what came of it.
    Need {
        from: Level::Contained,
        finding: Code::MustRead,
        switches: &[Switch::Taint, Switch::NoUnlinkedExec],
        of: |entry| is_blocked_program(entry) && matches!(hold(&entry.rule), Hold::MustRead(..)),
    },
    // Whatever the posture: it is another object's, and the guest looks at it.
    Need {
        from: Level::Contained,
        finding: Code::Hardened,
        switches: &[Switch::AllowGuard],
        of: |entry| entry.rule.permits_programs(),
    },
    Need {
        from: Level::Sealed,
        finding: Code::Hardened,
        switches: &[
            Switch::NameGuardAncestors,
            Switch::Taint,
            Switch::NoUnlinkedExec,
            Switch::NoAnonymousExec,
            Switch::NoExecmod,
            Switch::NoPoke,
            Switch::NoNewMounts,
            Switch::NoUserNamespaces,
            Switch::KnownFileSystemsOnly,
        ],
        of: can_deny,
    },
];

/// What the level adds to the options that the policy has.
pub(super) fn asked(policy: &EffectivePolicy, level: Level) -> Vec<EffectiveOption> {
    let mut asked: Vec<EffectiveOption> = Vec::new();
    for need in NEEDS.iter().filter(|need| need.from <= level) {
        let Some(gravest) = gravest(written(policy).filter(|entry| (need.of)(entry))) else {
            continue;
        };
        let mut provenance = gravest.provenance.clone();
        provenance.layer = Layer::Harden;
        for switch in need.switches {
            if policy.options.iter().chain(&asked).all(|known| known.switch != *switch) {
                let (switch, finding) = (*switch, need.finding);
                let provenance = provenance.clone();
                asked.push(EffectiveOption { switch, level, finding, provenance });
            }
        }
    }
    asked
}

/// The first of those with the highest severity.
fn gravest<'a>(rules: impl Iterator<Item = &'a EffectiveRule>) -> Option<&'a EffectiveRule> {
    rules.reduce(|gravest, entry| {
        if entry.provenance.severity > gravest.provenance.severity { entry } else { gravest }
    })
}

fn is_block(entry: &EffectiveRule) -> bool {
    entry.rule.action == Action::Block
        && matches!(entry.rule.category, Category::Process | Category::File)
}

fn is_blocked_program(entry: &EffectiveRule) -> bool {
    entry.rule.category == Category::Process && is_block(entry)
}

/// Of programs that the guest holds when it finds them.
fn is_of_directory(entry: &EffectiveRule) -> bool {
    is_blocked_program(entry) && matches!(entry.rule.object, Object::Directory(_))
}

/// An Allow rule denies what it does not name. A policy that only reports has nothing to seal.
fn can_deny(entry: &EffectiveRule) -> bool {
    entry.rule.action != Action::Audit
}
