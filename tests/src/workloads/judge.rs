// SPDX-License-Identifier: Apache-2.0
//! Whether what happened to a workload under rules is explained.

use serde::Serialize;

use super::Under;
use super::run::Ran;
use super::table::{Expected, Workload};
use crate::rootfs::Medium;

/// What became of a workload under rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It worked, and nothing was denied.
    Works,
    /// What was denied, or failed, is a known cost.
    Costs,
    /// Something was denied or failed for no known reason, or a known cost did not occur.
    Unexplained,
    /// It fails without rules.
    Broken,
}

/// A verdict and what led to it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Judgement {
    /// In one word.
    pub(super) verdict: Verdict,
    /// Why it is not [`Verdict::Works`], for people.
    pub(super) remarks: Vec<String>,
}

/// Judges a run by a run without rules and by what the workload is expected to cost.
pub(super) fn judge(
    workload: &Workload,
    (root, under): (Medium, Under),
    (free, ran): (&Ran, &Ran),
) -> Judgement {
    if let Some(failure) = &free.failed {
        let remarks = vec![format!("without rules, {} fails: {}", failure.step, failure.said)];
        return Judgement { verdict: Verdict::Broken, remarks };
    }
    let costs: Vec<_> =
        workload.expected.iter().filter(|entry| entry.concerns(root, under)).collect();
    let unexplained = unexplained(&costs, ran);
    if !unexplained.is_empty() {
        return Judgement { verdict: Verdict::Unexplained, remarks: unexplained };
    }
    let remarks: Vec<_> = costs.iter().map(|entry| known(entry)).collect();
    let verdict = if remarks.is_empty() { Verdict::Works } else { Verdict::Costs };
    Judgement { verdict, remarks }
}

fn known(entry: &Expected) -> String {
    match &entry.fails {
        Some(step) if entry.causes.is_empty() => format!("{step} fails: {}", entry.why),
        Some(step) => format!("{step} fails by {}: {}", entry.causes.join(", "), entry.why),
        None => entry.why.clone(),
    }
}

/// All in which a run and the expectations differ.
fn unexplained(costs: &[&Expected], ran: &Ran) -> Vec<String> {
    let mut remarks = Vec::new();
    let denials = ran.denials.iter();
    let strange = denials.filter(|denial| !costs.iter().any(|entry| entry.explains(denial)));
    remarks.extend(strange.map(ToString::to_string));
    if let Some(failure) = &ran.failed
        && !costs.iter().any(|entry| entry.fails.as_ref() == Some(&failure.step))
    {
        remarks.push(format!("{} fails: {}", failure.step, failure.said));
    }
    for entry in costs {
        let step = ran.failed.as_ref().map(|failure| &failure.step);
        if entry.fails.is_some() && entry.fails.as_ref() != step {
            remarks.push(format!("expected, but did not happen: {}", known(entry)));
        } else if !entry.paths.is_empty() && !ran.denials.iter().any(|one| entry.explains(one)) {
            remarks.push(format!("expected, but not denied: {}", entry.paths.join(", ")));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Denial, Level, Policies, run::Failure};
    use super::*;

    const UNDER: Under = Under { level: Level::Base, policies: Policies::Block };

    fn workload() -> Workload {
        let text = "name = 'a'\nabout = ''\nstep = [{ name = 'one', run = 'true' }]\n\
                    [[expected]]\nlevels = ['base']\nfails = 'one'\npaths = ['/a/*']\n\
                    causes = ['name-guard']\nwhy = 'because'";
        toml::from_str(text).unwrap()
    }

    fn ran(failed: bool, path: Option<&str>) -> Ran {
        let denial = |path: &str| Denial {
            hook: "path_rename".into(),
            path: path.into(),
            program: "/bin/mv".into(),
            cause: "name-guard".into(),
            policies: Vec::new(),
            count: 1,
        };
        let failed = failed.then(|| Failure { step: "one".into(), said: "no".into() });
        Ran { failed, denials: path.map(denial).into_iter().collect(), took: Duration::ZERO }
    }

    fn verdict(under: Under, ran: &Ran) -> Verdict {
        judge(&workload(), (Medium::Ext4, under), (&self::ran(false, None), ran)).verdict
    }

    #[test]
    fn a_known_cost_explains_its_denials_and_its_step() {
        assert_eq!(verdict(UNDER, &ran(true, Some("/a/x"))), Verdict::Costs);
        assert_eq!(verdict(UNDER, &ran(true, Some("/b"))), Verdict::Unexplained);
        let literal = Under { level: Level::Literal, ..UNDER };
        assert_eq!(verdict(literal, &ran(false, None)), Verdict::Works);
        assert_eq!(verdict(literal, &ran(true, None)), Verdict::Unexplained);
        assert_eq!(verdict(literal, &ran(false, Some("/a/x"))), Verdict::Unexplained);
    }

    #[test]
    fn a_known_cost_that_does_not_occur_is_unexplained() {
        assert_eq!(verdict(UNDER, &ran(false, None)), Verdict::Unexplained);
        assert_eq!(verdict(UNDER, &ran(true, None)), Verdict::Unexplained);
        assert_eq!(verdict(UNDER, &ran(false, Some("/a/x"))), Verdict::Unexplained);
    }

    #[test]
    fn what_fails_without_rules_judges_nothing() {
        let free = ran(true, None);
        let judgement =
            judge(&workload(), (Medium::Ext4, UNDER), (&free, &ran(true, Some("/a/x"))));
        assert_eq!(judgement.verdict, Verdict::Broken);
    }
}
