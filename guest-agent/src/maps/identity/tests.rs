// SPDX-License-Identifier: Apache-2.0
//! Tests of what is told of files that are not held.

use policy_model::{
    Action, Generation, Match, Object, PathObject, Rule, RulePath, RuleSet, Target,
};

use super::*;
use crate::{containers::Mount, identify::Shortfall, lower::lower};

fn path(text: &str) -> RulePath {
    RulePath::new(text).unwrap()
}

fn mount(dev: u32, point: &str, atomic: bool) -> Mount {
    Mount { dev, root: Some("/".into()), point: path(point), fs_type: "tmpfs".into(), atomic }
}

fn rule(id: u64, category: Category, at: &str) -> Rule {
    let object = PathObject { path: path(at), matching: Match::Identity };
    Rule::new(RuleId(id), category, Action::Block, Object::Path(object))
}

#[test]
fn keys_of_a_config_map_hold_and_are_no_symbolic_links() {
    let rules = RuleSet::empty(Target::default(), Generation(1)).with_rules(vec![
        rule(1, Category::File, "/etc/config/key"),
        rule(2, Category::Process, "/etc/config/run.sh"),
        rule(3, Category::File, "/etc/config"),
        rule(4, Category::File, "/etc/other"),
    ]);
    let mounts = [vec![mount(1, "/", false), mount(2, "/etc/config", true)]];
    let plan = lower(&rules, &mounts).unwrap();
    let short = |at: &str| Shortfall {
        identity: Identity::Path(path(at)),
        reason: ResidueReason::Symlink,
        detail: "a symbolic link".into(),
    };
    let all = ["/etc/config/key", "/etc/config/run.sh", "/etc/config", "/etc/other"];
    let findings = Findings { shortfalls: all.map(short).into(), ..Findings::default() };
    let told = residues_of(&plan, &findings).into_iter().map(|it| (it.rule.0, it.detail));
    let link = |at: &str| format!("{at}: a symbolic link");
    let expected = [
        (
            2,
            "/etc/config/run.sh: of a volume that is replaced as a whole, held by name alone"
                .into(),
        ),
        (3, link("/etc/config")),
        (4, link("/etc/other")),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
