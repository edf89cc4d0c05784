// SPDX-License-Identifier: Apache-2.0
//! The order of rules, case by case: the contract's section on it, as a table.

use policy_model::{
    Access, Action, Category, Content, Directory, Feature, Generation, Match, Object, PathObject,
    Posture, Postures, Reason, Rule, RuleId, RulePath, RuleSet, Source, Target, Verdict,
    eval::{Decision, UnsupportedRule, check_supported, eval},
};

const EXE: &str = "/bin/sh";

/// An access to `/d/sub/file` by `/bin/sh`, under these rules.
struct Case {
    says: &'static str,
    rules: Vec<Rule>,
    verdict: Verdict,
    /// Positions of the rules that decide.
    by: &'static [usize],
}

fn path(text: &str) -> RulePath {
    RulePath::new(text).expect("the cases write normal paths")
}

fn file(action: Action, object: Object) -> Rule {
    Rule::new(RuleId::default(), Category::File, action, object)
}

fn from(mut rule: Rule, exe: &str) -> Rule {
    rule.sources.push(Source::Path(path(exe)));
    rule
}

fn exact(text: &str) -> Object {
    Object::Path(PathObject { path: path(text), matching: Match::Name })
}

fn identity(text: &str) -> Object {
    Object::Path(PathObject { path: path(text), matching: Match::Identity })
}

fn directory(text: &str, recursive: bool) -> Directory {
    Directory { path: path(text), recursive, atomic_volume: false }
}

fn tree(text: &str) -> Object {
    Object::Directory(directory(text, true))
}

fn flat(text: &str) -> Object {
    Object::Directory(directory(text, false))
}

fn set(rules: Vec<Rule>) -> RuleSet {
    let numbered = (1..).zip(rules).map(|(id, rule)| Rule { id: RuleId(id), ..rule });
    RuleSet::empty(Target::default(), Generation(1)).with_rules(numbered.collect())
}

fn judge(rules: &RuleSet, name: &str, identities: &[RulePath]) -> Decision {
    let (name, exe) = (path(name), path(EXE));
    let access = Access {
        category: Category::File,
        path: Some(&name),
        identities,
        contents: &[],
        programs: &[],
        acts_as: &[],
        argv: None,
        exe: Some(&exe),
    };
    eval(rules, &access).expect("the cases use kinds that are built")
}

fn specificity() -> Vec<Case> {
    use Action::{Allow, Audit, Block};
    let file_of = "/d/sub/file";
    vec![
        Case {
            says: "a source beats a generic rule, whatever the objects are",
            rules: vec![file(Block, exact(file_of)), from(file(Allow, tree("/")), EXE)],
            verdict: Verdict::Allow,
            by: &[1],
        },
        Case {
            says: "a source that is somebody else's does not count",
            rules: vec![file(Block, exact(file_of)), from(file(Allow, tree("/")), "/bin/cat")],
            verdict: Verdict::Block,
            by: &[0],
        },
        Case {
            says: "among rules with sources the object decides",
            rules: vec![from(file(Block, tree("/d")), EXE), from(file(Allow, exact(file_of)), EXE)],
            verdict: Verdict::Allow,
            by: &[1],
        },
        Case {
            says: "an exact path beats a directory",
            rules: vec![file(Block, tree("/d/sub")), file(Audit, exact(file_of))],
            verdict: Verdict::Audit,
            by: &[1],
        },
        Case {
            says: "the deepest directory wins",
            rules: vec![
                file(Block, tree("/d")),
                file(Allow, tree("/d/sub")),
                file(Block, tree("/")),
            ],
            verdict: Verdict::Allow,
            by: &[1],
        },
        Case {
            says: "the deepest directory wins although it is not recursive",
            rules: vec![file(Block, tree("/d")), file(Allow, flat("/d/sub"))],
            verdict: Verdict::Allow,
            by: &[1],
        },
        Case {
            says: "a directory that is not recursive ends at its children",
            rules: vec![file(Block, flat("/d")), file(Audit, tree("/"))],
            verdict: Verdict::Audit,
            by: &[1],
        },
        Case {
            says: "recursive or not makes no rank",
            rules: vec![file(Allow, tree("/d/sub")), file(Block, flat("/d/sub"))],
            verdict: Verdict::Block,
            by: &[1],
        },
    ]
}

fn equal_rank() -> Vec<Case> {
    use Action::{Allow, Audit, Block};
    let at = |action| file(action, exact("/d/sub/file"));
    vec![
        Case {
            says: "Block over Audit over Allow, and both are named",
            rules: vec![at(Allow), at(Audit), at(Block)],
            verdict: Verdict::Block,
            by: &[1, 2],
        },
        Case {
            says: "Audit over Allow, and Allow is not named",
            rules: vec![at(Allow), at(Audit)],
            verdict: Verdict::Audit,
            by: &[1],
        },
        Case {
            says: "all that decide are named",
            rules: vec![at(Block), at(Block)],
            verdict: Verdict::Block,
            by: &[0, 1],
        },
        Case {
            says: "an Audit of lower rank is not named",
            rules: vec![file(Audit, tree("/d")), at(Block)],
            verdict: Verdict::Block,
            by: &[1],
        },
        Case {
            says: "name and identity are equally exact",
            rules: vec![at(Allow), file(Block, identity("/d/sub/file"))],
            verdict: Verdict::Block,
            by: &[1],
        },
    ]
}

#[test]
fn the_order_of_rules_is_the_contracts() {
    let identities = [path("/d/sub/file")];
    for case in specificity().into_iter().chain(equal_rank()) {
        let decision = judge(&set(case.rules), "/d/sub/file", &identities);
        let rules = case.by.iter().map(|at| RuleId(*at as u64 + 1)).collect();
        let expected = Decision { verdict: case.verdict, reason: Some(Reason::Rule), rules };
        assert_eq!(decision, expected, "{}", case.says);
    }
}

#[test]
fn without_rules_everything_is_permitted_and_nothing_reported() {
    let nothing = Decision { verdict: Verdict::Allow, reason: None, rules: Vec::new() };
    assert_eq!(judge(&set(Vec::new()), "/d", &[]), nothing);
    let elsewhere = set(vec![file(Action::Block, exact("/e")), file(Action::Audit, exact("/e"))]);
    assert_eq!(judge(&elsewhere, "/d", &[]), nothing, "Block and Audit make no whitelist");
}

#[test]
fn an_allow_rule_makes_the_category_a_whitelist() {
    let postures = [
        (Posture::Allow, Verdict::Allow),
        (Posture::Audit, Verdict::Audit),
        (Posture::Block, Verdict::Block),
    ];
    for (posture, verdict) in postures {
        let mut rules = set(vec![from(file(Action::Allow, exact("/e")), "/bin/cat")]);
        rules.postures = Postures { file: posture, ..Postures::default() };
        let unmatched = judge(&rules, "/d", &[]);
        let expected = Decision { verdict, reason: Some(Reason::Posture), rules: Vec::new() };
        assert_eq!(unmatched, expected, "an Allow of another source counts too");
    }
}

#[test]
fn a_whitelist_of_one_category_says_nothing_of_another() {
    let mut rules =
        set(vec![Rule { category: Category::Process, ..file(Action::Allow, exact("/bin/true")) }]);
    let block = Posture::Block;
    rules.postures = Postures { process: block, file: block, ..Postures::default() };
    assert_eq!(judge(&rules, "/d", &[]).verdict, Verdict::Allow);
}

#[test]
fn an_identity_holds_after_a_rename_and_a_name_does_not() {
    let held = set(vec![file(Action::Block, identity("/d/old"))]);
    assert_eq!(judge(&held, "/d/new", &[path("/d/old")]).verdict, Verdict::Block);
    assert_eq!(judge(&held, "/d/old", &[]).verdict, Verdict::Allow, "another file of the name");
    let named = set(vec![file(Action::Block, exact("/d/old"))]);
    assert_eq!(judge(&named, "/d/new", &[path("/d/old")]).verdict, Verdict::Allow);
}

#[test]
fn an_object_without_a_name_is_matched_by_identity_alone() {
    let rules = set(vec![file(Action::Block, tree("/")), file(Action::Audit, identity("/d/gone"))]);
    let access = Access {
        category: Category::File,
        path: None,
        identities: &[path("/d/gone")],
        contents: &[],
        programs: &[],
        acts_as: &[],
        argv: None,
        exe: None,
    };
    assert_eq!(eval(&rules, &access).unwrap().rules, [RuleId(2)]);
}

#[test]
fn a_content_is_matched_by_hash_and_size_under_any_name() {
    let content = |sha256| Object::Content { sha256, size: 1 };
    let rules = set(vec![file(Action::Block, content([1; 32]))]);
    let verdict = |contents: &[Content]| {
        let access = Access {
            category: Category::File,
            path: None,
            identities: &[],
            contents,
            programs: &[],
            acts_as: &[],
            argv: None,
            exe: None,
        };
        eval(&rules, &access).unwrap().verdict
    };
    let held = Content { sha256: [1; 32], size: 1 };
    assert_eq!(verdict(&[held]), Verdict::Block);
    assert_eq!(verdict(&[Content { size: 2, ..held }]), Verdict::Allow);
    assert_eq!(verdict(&[Content { sha256: [2; 32], ..held }]), Verdict::Allow);
    assert_eq!(verdict(&[]), Verdict::Allow);
}

#[test]
fn an_applet_is_matched_by_its_binary_and_its_arguments() {
    let binary = path("/bin/busybox");
    let applets = |action| {
        let object = Object::Applet { binary: binary.clone(), names: vec!["vi".into()] };
        set(vec![Rule::new(RuleId::default(), Category::Process, action, object)])
    };
    let verdict = |rules: &RuleSet, identities: &[RulePath], argv: Option<&[&str]>| {
        let argv: Option<Vec<String>> =
            argv.map(|argv| argv.iter().copied().map(str::to_owned).collect());
        let access = Access {
            category: Category::Process,
            path: None,
            identities,
            contents: &[],
            programs: &[],
            acts_as: &[],
            argv: argv.as_deref(),
            exe: None,
        };
        eval(rules, &access).unwrap().verdict
    };
    let held = std::slice::from_ref(&binary);
    let block = applets(Action::Block);
    assert_eq!(verdict(&block, held, Some(&["busybox", "vi"])), Verdict::Block);
    assert_eq!(verdict(&block, held, Some(&["ls", "vi"])), Verdict::Allow);
    assert_eq!(verdict(&block, &[], Some(&["vi"])), Verdict::Allow);
    // What cannot be read is blocked, and never permitted.
    assert_eq!(verdict(&block, held, None), Verdict::Block);
    let mut allow = applets(Action::Allow);
    allow.postures.process = Posture::Block;
    assert_eq!(verdict(&allow, held, Some(&["vi"])), Verdict::Allow);
    assert_eq!(verdict(&allow, held, Some(&["busybox"])), Verdict::Block);
    assert_eq!(verdict(&allow, held, None), Verdict::Block);
}

#[test]
fn a_rule_with_arguments_denies_unless_and_permits_only_if_all_are_listed() {
    let name = path("/usr/bin/tool");
    let verdict = |rules: &RuleSet, argv: Option<&[&str]>| {
        let argv: Option<Vec<String>> =
            argv.map(|argv| argv.iter().copied().map(str::to_owned).collect());
        let access = Access {
            category: Category::Process,
            path: Some(&name),
            identities: &[],
            contents: &[],
            programs: &[],
            acts_as: &[],
            argv: argv.as_deref(),
            exe: None,
        };
        eval(rules, &access).unwrap().verdict
    };
    let listed = |action| {
        let rule = Rule::new(RuleId::default(), Category::Process, action, exact(name.as_str()));
        Rule { allowed_args: vec!["-l".into(), "-v".into()], ..rule }
    };
    let block = set(vec![listed(Action::Block)]);
    let mut allow = set(vec![listed(Action::Allow)]);
    allow.postures.process = Posture::Block;
    for rules in [&block, &allow] {
        assert_eq!(verdict(rules, Some(&["tool", "-v", "-l"])), Verdict::Allow);
        assert_eq!(verdict(rules, Some(&["tool", "-v", "x"])), Verdict::Block);
        assert_eq!(verdict(rules, Some(&["tool"])), Verdict::Block);
        assert_eq!(verdict(rules, None), Verdict::Block);
    }
    // Where it does not speak, others do.
    let tree = Rule::new(RuleId::default(), Category::Process, Action::Audit, tree("/usr"));
    let both = set(vec![listed(Action::Block), tree]);
    assert_eq!(verdict(&both, Some(&["tool", "-l"])), Verdict::Audit);
    assert_eq!(verdict(&both, Some(&["tool"])), Verdict::Block);
}

#[test]
fn only_programs_have_arguments_and_applets_not_yet() {
    let applet = Object::Applet { binary: path("/bin/busybox"), names: vec!["vi".into()] };
    for rule in [
        file(Action::Block, exact("/d")),
        Rule::new(RuleId(1), Category::Process, Action::Block, applet),
    ] {
        let rule = Rule { id: RuleId(1), allowed_args: vec!["-l".into()], ..rule };
        let error = check_supported(&rule).unwrap_err();
        assert_eq!(error, UnsupportedRule { rule: RuleId(1), feature: Feature::AllowedArgs });
    }
}

#[test]
fn a_source_directory_covers_as_an_object_does() {
    let source = |directory| {
        let mut rule = file(Action::Block, exact("/d"));
        rule.sources.push(Source::Directory(directory));
        judge(&set(vec![rule]), "/d", &[]).verdict
    };
    assert_eq!(source(directory("/bin", false)), Verdict::Block);
    assert_eq!(source(directory("/", true)), Verdict::Block);
    assert_eq!(source(directory("/", false)), Verdict::Allow);
    assert_eq!(source(directory("/sbin", true)), Verdict::Allow);
}

#[test]
fn a_rule_of_a_kind_that_is_not_built_is_an_error_and_not_a_guess() {
    let unsupported = [
        (file(Action::Block, Object::Automaton(vec![1])), Feature::Automaton),
        (file(Action::Block, Object::Link(path("/l"))), Feature::Link),
        (Rule { owner_only: true, ..file(Action::Allow, exact("/d")) }, Feature::OwnerOnly),
        (Rule { read_only: true, ..file(Action::Allow, exact("/d")) }, Feature::ReadOnly),
        (Rule { no_tty: true, ..file(Action::Block, exact("/d")) }, Feature::NoTty),
        (
            file(
                Action::Block,
                Object::Directory(Directory { atomic_volume: true, ..directory("/d", true) }),
            ),
            Feature::AtomicVolume,
        ),
    ];
    let (name, exe) = (path("/elsewhere"), path(EXE));
    let mut access = Access {
        category: Category::File,
        path: Some(&name),
        identities: &[],
        contents: &[],
        programs: &[],
        acts_as: &[],
        argv: None,
        exe: Some(&exe),
    };
    for (rule, feature) in unsupported {
        let rules = set(vec![rule]);
        access.category = Category::File;
        assert_eq!(eval(&rules, &access), Err(UnsupportedRule { rule: RuleId(1), feature }));
        access.category = Category::Process;
        assert!(eval(&rules, &access).is_ok(), "{feature} is no business of another category");
    }
}
