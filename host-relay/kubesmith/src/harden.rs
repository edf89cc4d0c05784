// SPDX-License-Identifier: Apache-2.0
//! Rules that close the ways around the user's rules.
//!
//! An effective policy and a level flow in, the same policy with added rules flows out. Only Block
//! rules are added, each with the sources of the rule that it stands beside: the result permits
//! nothing that the user's rules deny. It never removes or changes a rule of the user.

use std::{collections::BTreeSet, fmt, str::FromStr};

use policy_model::{Action, Category, Match, Object, PathObject};

use crate::{
    crd::{KubeArmorPolicy, Namespace},
    effective::{EffectivePolicy, EffectiveRule, Layer},
};

/// Annotation that sets the level, on a policy or its namespace.
pub const LEVEL_ANNOTATION: &str = "kadapter.io/level";

/// How much is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// Nothing: rules by name, as written.
    Literal,
    /// A blocked program is also held by its identity.
    #[default]
    Base,
}

/// A level that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLevel {
    /// Of the contract, not of this build.
    #[error("level `{0}` is not built yet; use `base` or `literal`")]
    NotBuilt(String),
    /// Of nothing.
    #[error("level `{0}` is unknown; use `base` or `literal`")]
    Unknown(String),
}

/// The level of a policy: its own annotation, else its namespace's, else the default.
///
/// # Errors
/// If the annotation that counts names a level that cannot be had.
pub fn level_of(
    policy: &KubeArmorPolicy,
    namespace: Option<&Namespace>,
    default: Level,
) -> Result<Level, InvalidLevel> {
    let own = policy.metadata.annotations.get(LEVEL_ANNOTATION);
    let shared = || namespace?.metadata.annotations.get(LEVEL_ANNOTATION);
    own.or_else(shared).map_or(Ok(default), |text| text.parse())
}

/// Adds what the level asks for.
#[must_use]
pub fn harden(mut policy: EffectivePolicy, level: Level) -> EffectivePolicy {
    match level {
        Level::Literal => {}
        Level::Base => {
            let mut ids: BTreeSet<_> = policy.rules.iter().map(|entry| entry.rule.id).collect();
            let twins = policy.rules.iter().filter_map(identity_twin);
            let added: Vec<_> = twins.filter(|twin| ids.insert(twin.rule.id)).collect();
            policy.rules.extend(added);
        }
    }
    policy
}

/// The rule that holds the same program by its inode, whatever its name becomes.
fn identity_twin(entry: &EffectiveRule) -> Option<EffectiveRule> {
    let rule = &entry.rule;
    let Object::Path(PathObject { path, matching: Match::Name }) = &rule.object else {
        return None;
    };
    if rule.category != Category::Process || rule.action != Action::Block {
        return None;
    }
    let mut twin = entry.clone();
    twin.rule.object = Object::Path(PathObject { path: path.clone(), matching: Match::Identity });
    twin.provenance.layer = Layer::Harden;
    Some(EffectiveRule::new(twin.rule, twin.provenance))
}

// === impl Level ===

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLevel> {
        match text {
            "literal" => Ok(Self::Literal),
            "base" => Ok(Self::Base),
            "contained" | "sealed" => Err(InvalidLevel::NotBuilt(text.into())),
            _ => Err(InvalidLevel::Unknown(text.into())),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal => "literal",
            Self::Base => "base",
        })
    }
}

#[cfg(test)]
mod tests {
    use policy_model::{Access, Postures, RulePath, Source, Target, Verdict, eval::eval};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        compile::compile,
        effective::tests::{any_path, any_policy, program},
    };

    fn verdict(policy: &EffectivePolicy, access: &Access<'_>) -> Verdict {
        let policies = std::slice::from_ref(policy);
        let compiled = compile(Target::default(), Postures::default(), policies).unwrap();
        eval(&compiled.rules, access).unwrap().verdict
    }

    #[test]
    fn a_blocked_program_gets_a_twin_with_the_same_sources() {
        let path = RulePath::new("/usr/bin/apt").unwrap();
        let sources = [Source::Path(RulePath::new("/bin/sh").unwrap())];
        let object = Object::Path(PathObject { path: path.clone(), matching: Match::Name });
        let user = program(Action::Block, object, &sources);
        let policy = EffectivePolicy { policy: user.provenance.policy.clone(), rules: vec![user] };
        let hardened = harden(policy, Level::Base);
        let [user, twin] = &hardened.rules[..] else { panic!("two rules") };
        assert_eq!(twin.rule.object, Object::Path(PathObject { path, matching: Match::Identity }));
        assert_eq!(twin.rule.sources, user.rule.sources);
        assert_eq!(twin.provenance.layer, Layer::Harden);
        assert_eq!(twin.provenance.field, user.provenance.field);
        assert_ne!(twin.rule.id, user.rule.id);
    }

    #[test]
    fn levels_that_are_not_built_are_refused() {
        assert_eq!("contained".parse::<Level>(), Err(InvalidLevel::NotBuilt("contained".into())));
        assert_eq!("high".parse::<Level>(), Err(InvalidLevel::Unknown("high".into())));
        assert_eq!("base".parse(), Ok(Level::Base));
    }

    proptest! {
        #[test]
        fn hardened_rules_permit_nothing_that_the_users_deny(
            policy in any_policy(),
            path in proptest::option::of(any_path()),
            identities in proptest::collection::vec(any_path(), 0..3),
            exe in proptest::option::of(any_path()),
            program in any::<bool>(),
        ) {
            let category = if program { Category::Process } else { Category::File };
            let access = Access {
                category, path: path.as_ref(), identities: &identities, exe: exe.as_ref(),
            };
            let hardened = harden(policy.clone(), Level::Base);
            if verdict(&policy, &access) == Verdict::Block {
                prop_assert_eq!(verdict(&hardened, &access), Verdict::Block);
            }
        }

        #[test]
        fn hardening_twice_is_hardening_once(policy in any_policy()) {
            let once = harden(policy, Level::Base);
            prop_assert_eq!(harden(once.clone(), Level::Base), once);
        }
    }
}
