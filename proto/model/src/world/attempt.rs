// SPDX-License-Identifier: Apache-2.0
//! An action under a rule set.

use super::{Action, Obstacle, ProcessId, Ran, Step, World};
use crate::{
    eval::{Judgement, UnsupportedRule, judge},
    hook::Event,
    rule_set::RuleSet,
};

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was done.
    Done {
        /// The world after it.
        after: World,
        /// What was run.
        ran: Vec<Ran>,
        /// What was reported and permitted.
        audited: Vec<Denial>,
    },
    /// A hook denied it; the world is as before.
    Denied(Denial),
    /// The kernel refuses it without any rule.
    Impossible(Obstacle),
}

/// An event with what was decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The hook and its objects.
    pub event: Event,
    /// The decision.
    pub judgement: Judgement,
}

// === impl World ===

impl World {
    /// Carries out an action of a process as far as these rules let it.
    ///
    /// # Errors
    /// If a rule is of a kind that the reference decision cannot judge.
    pub fn attempt(
        &self,
        rules: &RuleSet,
        who: ProcessId,
        action: &Action,
    ) -> Result<Attempt, UnsupportedRule> {
        let Step { events, after, ran } = match self.perform(who, action) {
            Ok(step) => step,
            Err(obstacle) => return Ok(Attempt::Impossible(obstacle)),
        };
        let mut audited = Vec::new();
        for event in events {
            let judgement = judge(rules, self.actor(who), &event)?;
            if judgement.is_denial() {
                return Ok(Attempt::Denied(Denial { event, judgement }));
            }
            if judgement.decision.verdict == crate::Verdict::Audit {
                audited.push(Denial { event, judgement });
            }
        }
        Ok(Attempt::Done { after, ran, audited })
    }
}
