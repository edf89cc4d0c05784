// SPDX-License-Identifier: Apache-2.0
//! Multi-call binaries: what each applet is decided to be, beside the binary by itself.

use std::collections::{BTreeMap, BTreeSet};

use policy_model::{Action, Object, Rule};

use super::{arguments::Judged, judge::Judge};

/// Decisions on a binary by what its arguments ask for. What asks for none of these applets is the
/// binary by itself, see [`Judge::judge`].
#[derive(Clone, Debug)]
pub struct JudgedApplets {
    /// Of each applet that a rule names.
    pub by_name: BTreeMap<String, Judged>,
    /// If it cannot be told what is asked for.
    pub any: Judged,
    /// Some applet may be permitted where the binary by itself is denied.
    pub may_permit: bool,
}

// === impl Judge ===

impl Judge<'_> {
    /// Decisions on the applets of an inode of which these rules speak; none if no rule does.
    #[must_use]
    pub fn judge_applets(&self, rules: &[usize]) -> Option<JudgedApplets> {
        let applets: Vec<(&Rule, &[String])> =
            rules.iter().filter_map(|index| of_applets(self.rule(*index)?)).collect();
        if applets.is_empty() {
            return None;
        }
        let names: BTreeSet<&String> = applets.iter().flat_map(|(_, names)| *names).collect();
        let by_name = names.into_iter().map(|applet| {
            let asks = |names: &[String], _: Action| names.contains(applet);
            (applet.clone(), self.judge_asked(rules, asks))
        });
        Some(JudgedApplets {
            by_name: by_name.collect(),
            any: self.judge_asked(rules, |_, action| action != Action::Allow),
            may_permit: applets.iter().any(|(rule, _)| rule.action != Action::Block),
        })
    }

    /// Rules on applets count if they are asked for.
    fn judge_asked(&self, rules: &[usize], asks: impl Fn(&[String], Action) -> bool) -> Judged {
        self.judge_listed(rules, |rule| {
            of_applets(rule).is_none_or(|(rule, names)| asks(names, rule.action))
        })
    }
}

pub(super) fn of_applets(rule: &Rule) -> Option<(&Rule, &[String])> {
    match &rule.object {
        Object::Applet { names, .. } => Some((rule, names)),
        _ => None,
    }
}
